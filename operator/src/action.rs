//! What planning asks for, and what came of it.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::EventType;
use trellis_crds::{GenerationJob, WorkerPool, WorkerPoolStatus};

use crate::apply::{ApplyError, Unanswered};
use crate::key::{Key, Uid};
use crate::plan::Decision;
use crate::validate::{Identity, Job, Pool, Worker};

/// One piece of work for the API server.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Write what was decided about a job.
    Decide { job: Job, decision: Decision },
    /// Make a worker of this name. Asked for again where the answer was lost: one that is there already will do.
    CreateWorker { pool: Pool, name: String },
    /// Delete a worker that has no job.
    DeleteWorker { worker: Worker },
    /// Write a pool's status.
    ReportPool { pool: Pool, status: Box<WorkerPoolStatus> },
    /// Publish an event.
    Announce(Notice),
}

/// What came of an [`Action`].
#[derive(Debug)]
pub(crate) enum Applied {
    /// With the event that follows.
    Decided {
        uid: Uid,
        result: Result<Stored, ApplyError>,
        notice: Option<Notice>,
    },
    WorkerCreated {
        pool: Key,
        name: String,
        result: Result<Worker, ApplyError>,
    },
    WorkerDeleted {
        uid: Uid,
        result: Result<(), ApplyError>,
    },
    PoolReported {
        pool: Key,
        result: Result<Pool, ApplyError>,
    },
    Announced {
        result: Result<(), ApplyError>,
    },
}

impl Applied {
    /// How the API server failed to answer as it should, where it did.
    pub(crate) fn unanswered(&self) -> Option<&Unanswered> {
        let error = match self {
            Applied::Decided { result, .. } => result.as_ref().err(),
            Applied::WorkerCreated { result, .. } => result.as_ref().err(),
            Applied::WorkerDeleted { result, .. } | Applied::Announced { result } => result.as_ref().err(),
            Applied::PoolReported { result, .. } => result.as_ref().err(),
        };
        match error {
            Some(ApplyError::Unknown(unanswered)) => Some(unanswered),
            _ => None,
        }
    }
}

/// A job as the API server has it now.
#[derive(Debug)]
pub(crate) enum Stored {
    /// There, in this state.
    There(Job),
    /// Deleted.
    Gone,
}

/// An event to publish, about a transition that just happened.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) about: ObjectReference,
    pub(crate) type_: EventType,
    pub(crate) reason: &'static str,
    pub(crate) note: String,
}

impl Notice {
    pub(crate) fn job(job: &Job, type_: EventType, reason: &'static str, note: impl Into<String>) -> Self {
        Self { about: reference::<GenerationJob>(&job.identity), type_, reason, note: note.into() }
    }

    pub(crate) fn pool(pool: &Pool, type_: EventType, reason: &'static str, note: impl Into<String>) -> Self {
        Self { about: reference::<WorkerPool>(&pool.identity), type_, reason, note: note.into() }
    }
}

fn reference<K: Resource<DynamicType = ()>>(identity: &Identity) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: Some(identity.key.namespace.clone()),
        name: Some(identity.key.name.clone()),
        uid: Some(identity.uid.to_string()),
        // Without the state that it was in: an event that comes again is told with the first one.
        ..ObjectReference::default()
    }
}
