//! Which objects go. Pure.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use trellis_storage::{Listed, ObjectUri};

use super::facts::Records;
use super::layout::Folder;
use super::survey::{Group, Survey};

/// By what is decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) now: SystemTime,
    /// For how long after their last attempt results and records of jobs that are gone are kept; for ever where there is no limit.
    pub(super) keep_results: Option<Duration>,
}

/// Why an object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Reason {
    /// A file of an attempt that did not complete its job.
    Leftover,
    /// The image of a job that is gone.
    Input,
    /// A file whose writer ended before it.
    Unfinished,
    /// A result, or the record of one, that was kept for as long as was asked.
    Expired,
}

impl Reason {
    /// For people, in front of an address.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Leftover => "left over by an attempt",
            Self::Input => "image of a job that is gone",
            Self::Unfinished => "never finished",
            Self::Expired => "kept long enough",
        }
    }
}

/// An object that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deletion {
    pub(super) uri: ObjectUri,
    pub(super) bytes: u64,
    pub(super) reason: Reason,
}

impl Deletion {
    fn new(object: &Listed, reason: Reason) -> Self {
        Self { uri: object.uri.clone(), bytes: object.bytes, reason }
    }
}

/// The records that are to be read before it can be decided: first those in the archive, and when these are among `records`, the manifests
/// of folders that none of them names. None where all is known.
pub(super) fn records_needed(survey: &Survey<'_>, records: &Records) -> Vec<ObjectUri> {
    let is_unread = |uri: &&ObjectUri| !records.contains_key(*uri);
    let archive = survey.kept_records().map(|(_, record)| &record.uri);
    let unread: Vec<_> = archive.filter(is_unread).cloned().collect();
    if !unread.is_empty() && survey.folders().next().is_some() {
        return unread;
    }
    let named = Named::of(survey, records);
    let folders = survey.folders().filter(|(folder, group)| {
        // Without other files beside it there is nothing to decide.
        !named.may_be(folder) && !group.files.is_empty() && !survey.is_expired(folder, group)
    });
    folders.filter_map(|(_, group)| group.manifest).map(|file| &file.uri).filter(is_unread).cloned().collect()
}

/// What goes. Folders stay where the record that would tell is not among `records`.
pub(super) fn what_to_delete(survey: &Survey<'_>, records: &Records) -> Vec<Deletion> {
    let named = Named::of(survey, records);
    let mut deletions = Vec::new();
    let mut delete = |object: &Listed, reason| deletions.push(Deletion::new(object, reason));
    for (folder, group) in survey.folders().filter(|(folder, _)| !named.may_be(folder)) {
        if survey.is_expired(folder, group) {
            group.all().for_each(|file| delete(file, Reason::Expired));
        } else if !may_have_completed(group, records) {
            group.files.iter().for_each(|file| delete(file, Reason::Leftover));
        }
    }
    survey.expired_records().for_each(|record| delete(record, Reason::Expired));
    survey.images().for_each(|image| delete(image, Reason::Input));
    survey.unfinished().for_each(|file| delete(file, Reason::Unfinished));
    deletions
}

/// The manifest comes last: without one the attempt was cut off.
fn may_have_completed(group: &Group<'_>, records: &Records) -> bool {
    let Some(manifest) = group.manifest else { return false };
    let record = records.get(&manifest.uri).and_then(Option::as_ref);
    record.is_none_or(|record| record.is_complete)
}

/// The folders that records in the archive name which are to stay.
struct Named<'a> {
    folders: HashSet<&'a Folder>,
    /// Namespaces with a record that cannot be read: it may name any folder there.
    unknown: HashSet<&'a str>,
}

impl<'a> Named<'a> {
    fn of(survey: &'a Survey<'_>, records: &'a Records) -> Self {
        let mut named = Self { folders: HashSet::new(), unknown: HashSet::new() };
        for (name, record) in survey.kept_records() {
            match records.get(&record.uri) {
                Some(Some(record)) => named.folders.insert(&record.folder),
                _ => named.unknown.insert(&name.namespace),
            };
        }
        named
    }

    fn may_be(&self, folder: &Folder) -> bool {
        self.unknown.contains(folder.namespace.as_str()) || self.folders.contains(folder)
    }
}
