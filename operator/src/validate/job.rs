//! A GenerationJob that planning can rely on.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use trellis_crds::{
    Attempt, BatchKey, GenerationJob, GenerationJobSpec, GenerationJobStatus, Input, InputKind, Output,
    labels,
};

use super::{Identity, Invalid};
use crate::key::Key;

/// A GenerationJob as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) identity: Identity,
    pub(crate) input: InputKind,
    pub(crate) object: Arc<GenerationJob>,
    /// The object is all of it, not only what is [kept](Job::condensed) of a job that ended.
    pub(crate) is_whole: bool,
}

impl Job {
    pub(crate) fn new(mut object: GenerationJob) -> Result<Self, Invalid> {
        // As large as all the rest, and the API server keeps them where an update has none.
        object.metadata.managed_fields = None;
        let identity = Identity::of(&object.metadata)?;
        let input = object.spec.input.kind().ok_or(Invalid::NoInput)?;
        Ok(Self { identity, input, object: Arc::new(object), is_whole: true })
    }

    /// What decisions about a job that ended are made from: when and how it ended, and what its owner says of its end. The rest, most of its
    /// weight, stays with the API server; a job that has not ended is left as it is.
    pub(crate) fn condensed(self) -> Self {
        if !self.object.is_finished() {
            return self;
        }
        let mut object = Arc::unwrap_or_clone(self.object);
        let mut labels = object.metadata.labels.take().unwrap_or_default();
        labels.retain(|name, _| name == labels::DEAD_LETTER);
        object.metadata = ObjectMeta {
            labels: Some(labels),
            generation: object.metadata.generation,
            deletion_timestamp: object.metadata.deletion_timestamp,
            ..ObjectMeta::default()
        };
        object.spec.input = Input::default();
        object.spec.output = Output::default();
        if object.undelivered_webhook_messages().is_empty() {
            object.spec.webhook = None;
        }
        if let Some(status) = &mut object.status {
            status.conditions = Vec::new();
            status.outputs = Vec::new();
            status.timings = Vec::new();
            status.error = None;
            if object.spec.webhook.is_none() {
                status.webhook = None;
            }
            // The number of the last one tells which are new, should the job be tried again.
            let last = status.attempts.pop().map(|last| Attempt { message: None, ..last });
            status.attempts = last.into_iter().collect();
        }
        Self { object: Arc::new(object), is_whole: false, ..self }
    }

    pub(crate) fn spec(&self) -> &GenerationJobSpec {
        &self.object.spec
    }

    /// The status, where something was written yet.
    pub(crate) fn status(&self) -> Option<&GenerationJobStatus> {
        self.object.status.as_ref()
    }

    /// Which jobs this one can be computed with; none for one that failed before.
    pub(crate) fn batch_key(&self) -> Option<BatchKey> {
        let failures = self.status().map_or(0, |status| status.failures);
        self.spec().batch_key().filter(|_| failures == 0)
    }

    /// Whether both were given to one worker together.
    pub(crate) fn is_together_with(&self, other: &Job) -> bool {
        let batch = |job: &Job| {
            let at = job.object.assignment()?;
            Some((at.pod_uid.clone(), at.time.0, at.batch?))
        };
        batch(self).is_some_and(|mine| batch(other) == Some(mine))
    }

    /// The pool whose worker has the job, or had it last.
    pub(crate) fn assigned_pool(&self) -> Option<Key> {
        let pool = &self.object.assignment()?.pool;
        let own = || Key::new(&self.identity.key.namespace, pool);
        Some(pool.split_once('/').map_or_else(own, |(namespace, name)| Key::new(namespace, name)))
    }

    /// The attempts that ended since the job was as `known`, an earlier state of it.
    pub(crate) fn attempts_since(&self, known: &Job) -> impl Iterator<Item = &Attempt> {
        let attempts =
            |job: &Job| job.status().map_or(0, |status| status.attempts.last().map_or(0, |last| last.number));
        let seen = attempts(known);
        let all = self.status().map(|status| status.attempts.as_slice()).unwrap_or_default();
        all.iter().filter(move |attempt| attempt.number > seen)
    }

    pub(crate) fn is_being_deleted(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }
}
