//! What an object in the storage is, by its address. What is not of this layout was not made here, and nobody touches it.

use trellis_crds::{ARCHIVE, MANIFEST, is_object_name};
use trellis_storage::{Listed, ObjectUri};

use crate::files::FileKind;
use crate::jobs::JobId;

/// Where this installation keeps things.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) outputs: ObjectUri,
    pub(super) inputs: ObjectUri,
}

/// A job by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct JobName {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The folder of an attempt: `<namespace>/<job uid>/<attempt>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Folder {
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) attempt: i32,
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of an attempt.
    Output(Folder),
    /// The attempt's manifest.
    Manifest(Folder),
    /// The record of the newest attempt at jobs of this name.
    Record(JobName),
    /// A file that came over REST for this job.
    Input(JobName),
    /// A file that is being written, or was when its writer ended.
    Unfinished,
}

impl Places {
    /// What `object` is; `None` for what is not of the layout.
    pub(super) fn kind(&self, object: &Listed) -> Option<Kind> {
        let output = object.uri.strip_prefix(&self.outputs);
        let input = object.uri.strip_prefix(&self.inputs);
        if !object.is_unfinished {
            return output.and_then(kind_of_output).or_else(|| input.and_then(kind_of_input));
        }
        // It is called like the whole one, and `#` with a number.
        let whole = |name: &str| name.rsplit_once('#').map(|(whole, _)| whole.to_owned());
        let output = output.and_then(whole).and_then(|name| kind_of_output(&name));
        let input = input.and_then(whole).and_then(|name| kind_of_input(&name));
        output.or(input).map(|_| Kind::Unfinished)
    }
}

fn kind_of_output(name: &str) -> Option<Kind> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [ARCHIVE, namespace, file] => Some(Kind::Record(job_name(namespace, file.strip_suffix(".json")?)?)),
        [namespace, uid, attempt, file] if is_object_name(namespace) && is_uid(uid) && is_file(file) => {
            let attempt = number(attempt)?;
            let folder = Folder { namespace: namespace.into(), uid: uid.into(), attempt };
            Some(if file == MANIFEST { Kind::Manifest(folder) } else { Kind::Output(folder) })
        }
        _ => None,
    }
}

fn kind_of_input(name: &str) -> Option<Kind> {
    let parts: Vec<&str> = name.split('/').collect();
    let [namespace, job, file] = parts[..] else { return None };
    let (kind, name) = file.split_once('-')?;
    let (digest, extension) = name.split_once('.')?;
    let kind = FileKind::ALL.into_iter().find(|known| known.to_string() == kind)?;
    let is_digest = digest.len() == 16 && digest.bytes().all(is_hex);
    JobId::parse(job)?;
    if is_digest && kind.extensions().contains(&extension) {
        Some(Kind::Input(job_name(namespace, job)?))
    } else {
        None
    }
}

fn job_name(namespace: &str, name: &str) -> Option<JobName> {
    let is_job = is_object_name(namespace) && is_object_name(name);
    is_job.then(|| JobName { namespace: namespace.into(), name: name.into() })
}

/// As the API server makes uids: a UUID in lower case.
fn is_uid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || is_hex(byte))
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// As the worker names its files.
fn is_file(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(plain)
}

/// The number of an attempt, as it is written there and not in another way.
fn number(text: &str) -> Option<i32> {
    let number: i32 = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then_some(number)
}
