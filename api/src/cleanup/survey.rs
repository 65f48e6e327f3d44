//! The storage's objects, sorted by what they are and by who names them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use trellis_storage::{Listed, ObjectUri};

use super::facts::LiveJob;
use super::layout::{Folder, JobName, Kind, Places};
use super::plan::Rules;

/// Nothing younger goes: an attempt may run for seven days by the schema, and a day is for whatever else takes time.
pub(super) const MIN_AGE: Duration = Duration::from_secs(8 * 86_400);

/// The files of an attempt.
#[derive(Default)]
pub(super) struct Group<'a> {
    pub(super) manifest: Option<&'a Listed>,
    /// The files but for the manifest.
    pub(super) files: Vec<&'a Listed>,
}

impl<'a> Group<'a> {
    pub(super) fn all(&self) -> impl Iterator<Item = &'a Listed> {
        self.files.iter().chain(&self.manifest).copied()
    }
}

/// What there is, and what of it jobs in Kubernetes name.
pub(super) struct Survey<'a> {
    rules: Rules,
    folders: HashMap<Folder, Group<'a>>,
    records: Vec<(JobName, &'a Listed)>,
    images: Vec<(JobName, &'a Listed)>,
    unfinished: Vec<&'a Listed>,
    /// The uids of jobs that are in Kubernetes.
    uids: HashSet<&'a str>,
    /// Their names.
    names: HashSet<&'a JobName>,
    /// The folders that their statuses name.
    attempts: HashSet<Folder>,
    /// The objects that they name.
    addresses: HashSet<&'a ObjectUri>,
}

impl<'a> Survey<'a> {
    pub(super) fn of(places: &Places, listing: &'a [Listed], jobs: &'a [LiveJob], rules: Rules) -> Self {
        let mut survey = Self {
            rules,
            folders: HashMap::new(),
            records: Vec::new(),
            images: Vec::new(),
            unfinished: Vec::new(),
            uids: jobs.iter().map(|job| job.uid.as_str()).collect(),
            names: jobs.iter().map(|job| &job.name).collect(),
            attempts: jobs.iter().flat_map(attempts).collect(),
            addresses: jobs.iter().flat_map(|job| &job.addresses).collect(),
        };
        for object in listing {
            match places.kind(object) {
                Some(Kind::Output(folder)) => survey.folders.entry(folder).or_default().files.push(object),
                Some(Kind::Manifest(folder)) => {
                    survey.folders.entry(folder).or_default().manifest = Some(object);
                }
                Some(Kind::Record(name)) => survey.records.push((name, object)),
                Some(Kind::Input(name)) => survey.images.push((name, object)),
                Some(Kind::Unfinished) => survey.unfinished.push(object),
                None => {}
            }
        }
        survey
    }

    /// The folders that no job in Kubernetes names, and in which nothing happens any more.
    pub(super) fn folders(&self) -> impl Iterator<Item = (&Folder, &Group<'a>)> {
        self.folders.iter().filter(|(folder, group)| {
            let is_named = self.attempts.contains(*folder) || group.all().any(|file| self.is_named(file));
            !is_named && group.all().all(|file| self.is_old(file))
        })
    }

    /// Whether `group` was kept for as long as results of jobs that are gone are.
    pub(super) fn is_expired(&self, folder: &Folder, group: &Group<'_>) -> bool {
        !self.uids.contains(folder.uid.as_str()) && group.all().all(|file| self.has_been_kept(file))
    }

    /// The records in the archive that were kept for as long as that.
    pub(super) fn expired_records(&self) -> impl Iterator<Item = &'a Listed> {
        self.records.iter().filter(|record| self.is_expired_record(record)).map(|(_, record)| *record)
    }

    /// The records in the archive that stay.
    pub(super) fn kept_records(&self) -> impl Iterator<Item = &(JobName, &'a Listed)> {
        self.records.iter().filter(|record| !self.is_expired_record(record))
    }

    /// The images of jobs that are gone.
    pub(super) fn images(&self) -> impl Iterator<Item = &'a Listed> {
        let images = self.images.iter().filter(|(name, _)| !self.names.contains(name));
        images.map(|(_, image)| *image).filter(|image| !self.is_named(image) && self.is_old(image))
    }

    /// The files whose writers have ended.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &'a Listed> {
        self.unfinished.iter().copied().filter(|file| self.is_old(file))
    }

    fn is_expired_record(&self, (name, record): &(JobName, &Listed)) -> bool {
        !self.names.contains(name) && !self.is_named(record) && self.has_been_kept(record)
    }

    fn is_named(&self, object: &Listed) -> bool {
        self.addresses.contains(&object.uri)
    }

    fn is_old(&self, object: &Listed) -> bool {
        self.age(object) >= MIN_AGE
    }

    fn has_been_kept(&self, object: &Listed) -> bool {
        self.rules.keep_results.is_some_and(|keep| self.age(object) >= keep.max(MIN_AGE))
    }

    /// Of an object that is newer than now: none.
    fn age(&self, object: &Listed) -> Duration {
        self.rules.now.duration_since(object.modified).unwrap_or_default()
    }
}

fn attempts(job: &LiveJob) -> impl Iterator<Item = Folder> {
    job.attempts.iter().map(|attempt| Folder {
        namespace: job.name.namespace.clone(),
        uid: job.uid.clone(),
        attempt: *attempt,
    })
}
