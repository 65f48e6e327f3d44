//! The audit log, read back to count requests.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::wait::poll;

/// How long a write may be under way; the API server gives up after a minute.
const END_LIMIT: Duration = Duration::from_secs(90);

/// One answered request, as the API server's audit log has it (`audit.k8s.io/v1` Event; the fields that tests ask for).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Who asked.
    pub user: AuditUser,
    /// The program that asked, by its `User-Agent`.
    #[serde(default)]
    pub user_agent: String,
    /// What was asked about; absent for requests such as `/readyz`.
    pub object_ref: Option<AuditObject>,
    /// The answer; absent when the request panicked.
    pub response_status: Option<AuditStatus>,
}

/// Who asked, in an [`AuditEvent`].
#[derive(Debug, Clone, Deserialize)]
pub struct AuditUser {
    /// The name, e.g. `system:serviceaccount:<namespace>:<name>`.
    #[serde(default)]
    pub username: String,
}

/// What was asked about, in an [`AuditEvent`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AuditObject {
    /// The API group; empty for the core group.
    pub api_group: String,
    /// The plural name of the resource, e.g. `generationjobs`.
    pub resource: String,
    /// The namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// The object; empty when a list is asked for, or a name is generated.
    pub name: String,
    /// E.g. `status`.
    pub subresource: String,
}

/// The answer, in an [`AuditEvent`].
#[derive(Debug, Clone, Deserialize)]
pub struct AuditStatus {
    /// The HTTP status code.
    #[serde(default)]
    pub code: u16,
}

impl AuditEvent {
    /// Whether the request changes something, whatever came of it.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether the request is about an object, or objects, of this plural name in this namespace.
    pub fn is_about(&self, namespace: &str, resource: &str) -> bool {
        self.object_ref
            .as_ref()
            .is_some_and(|object| object.namespace == namespace && object.resource == resource)
    }
}

/// An audit log, from a moment on.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    start: u64,
}

impl AuditLog {
    /// All of the log at `path`.
    pub(crate) fn whole(path: PathBuf) -> Self {
        Self { path, start: 0 }
    }

    /// What the log at `path` will have from now on.
    pub(crate) fn from_now_on(path: PathBuf) -> Result<Self> {
        let log = std::fs::metadata(&path).with_context(|| no_log(&path))?;
        Ok(Self { start: log.len(), path })
    }

    /// The requests since then that were answered, oldest first. Waits for the writes that are under way: the log tells of a write's end only after the
    /// write's effect could be seen.
    ///
    /// # Errors
    /// Fails when the log cannot be read, or when a write does not end.
    pub fn events(&self) -> Result<Vec<AuditEvent>> {
        let begun: HashSet<String> = ids(&self.entries()?, |entry| entry.is_start());
        poll("the writes that are under way to end", END_LIMIT, || {
            let entries = self.entries()?;
            let ended = ids(&entries, |entry| !entry.is_start());
            Ok(begun.is_subset(&ended).then(|| answered(entries)))
        })
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let mut file = File::open(&self.path).with_context(|| no_log(&self.path))?;
        file.seek(SeekFrom::Start(self.start))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be half written.
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        complete
            .lines()
            .map(|line| serde_json::from_str(line).context("the audit log has a line that is no event"))
            .collect()
    }
}

/// A line of the log: a request at one of its stages.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "auditID")]
    id: String,
    stage: String,
    #[serde(flatten)]
    event: AuditEvent,
}

impl Entry {
    fn is_start(&self) -> bool {
        self.stage == "RequestReceived"
    }
}

fn ids(entries: &[Entry], of: impl Fn(&Entry) -> bool) -> HashSet<String> {
    entries.iter().filter(|entry| of(entry)).map(|entry| entry.id.clone()).collect()
}

/// The ends of the requests; not of writes that had come before the first of these entries.
fn answered(entries: Vec<Entry>) -> Vec<AuditEvent> {
    let begun = ids(&entries, Entry::is_start);
    let ends = entries.into_iter().filter(|entry| !entry.is_start());
    ends.filter(|end| !end.event.is_write() || begun.contains(&end.id)).map(|end| end.event).collect()
}

fn no_log(path: &Path) -> String {
    format!("cannot read the audit log {}", path.display())
}
