//! What jobs and records say that cleaning up goes by.

use std::collections::HashMap;

use kube::ResourceExt as _;
use trellis_crds::{GenerationJob, Phase};
use trellis_storage::ObjectUri;

use super::layout::{Folder, JobName};

/// What a job that is in Kubernetes stands for.
#[derive(Clone, Debug)]
pub(super) struct LiveJob {
    pub(super) name: JobName,
    pub(super) uid: String,
    /// The attempts that its status names.
    pub(super) attempts: Vec<i32>,
    /// The objects that it names as its input and its outputs.
    pub(super) addresses: Vec<ObjectUri>,
}

impl LiveJob {
    pub(super) fn of(job: &GenerationJob) -> Self {
        let status = job.status.clone().unwrap_or_default();
        let assigned = status.assignment.iter().map(|assignment| assignment.attempt);
        let ended = status.attempts.iter().map(|attempt| attempt.number);
        let outputs = status.outputs.iter().map(|file| file.uri.as_str());
        let inputs = job.spec.input.sources().filter_map(|source| source.uri.as_deref());
        Self {
            name: JobName { namespace: job.namespace().unwrap_or_default(), name: job.name_any() },
            uid: job.uid().unwrap_or_default(),
            attempts: assigned.chain(ended).collect(),
            // What is at https:// is not in this storage.
            addresses: outputs.chain(inputs).filter_map(|uri| uri.parse().ok()).collect(),
        }
    }
}

/// What a record says, be it in the folder of its attempt or in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The folder of the attempt.
    pub(super) folder: Folder,
    /// Whether the attempt completed the job, so that the files in the folder are its results.
    pub(super) is_complete: bool,
}

impl Record {
    /// `None` for a job without namespace, uid or assignment, of which no worker makes a record.
    pub(super) fn of(job: &GenerationJob) -> Option<Self> {
        let attempt = job.assignment()?.attempt;
        let folder = Folder { namespace: job.namespace()?, uid: job.uid()?, attempt };
        Some(Self { folder, is_complete: job.phase() == Phase::Completed })
    }
}

/// What was read at the addresses of records; `None` where that is none.
pub(super) type Records = HashMap<ObjectUri, Option<Record>>;
