//! Jobs whose objects are gone, as the workers' records tell of them.

use std::time::Duration;

use kube::ResourceExt as _;
use trellis_crds::conditions::reason;
use trellis_crds::{Attempt, FailureReason, GenerationJob, JobError as JobFault, Outcome, Phase};
use trellis_storage::{Error, ObjectUri, Storage};

use super::{JobError, JobId};
use crate::auth::Caller;

/// The API server takes no larger objects than 3 MiB, and a record is one with spaces.
pub(crate) const MAX_RECORD_BYTES: u64 = 8 << 20;

/// How long the storage may take to give or delete a record.
const PATIENCE: Duration = Duration::from_secs(10);

/// The records of the newest attempts at jobs.
#[derive(Clone)]
pub(crate) struct Archive {
    storage: Storage,
    /// Where the workers' outputs go; without it there is no archive.
    outputs: Option<ObjectUri>,
}

impl Archive {
    /// The records below `outputs`.
    pub(crate) fn new(storage: Storage, outputs: Option<ObjectUri>) -> Self {
        Self { storage, outputs }
    }

    /// The record of the job `id` in the caller's namespace, whosever it is, as a job that has ended.
    pub(crate) async fn find(&self, caller: &Caller, id: &JobId) -> Result<GenerationJob, JobError> {
        let uri = self.uri(caller, id)?;
        let record = within(&uri, self.storage.get(&uri, MAX_RECORD_BYTES)).await?;
        let job: GenerationJob = serde_json::from_slice(&record).map_err(JobError::Record)?;
        if job.name_any() == id.as_str() { Ok(ended(job)) } else { Err(JobError::NotFound) }
    }

    /// Deletes the record of the job `id` in the caller's namespace.
    pub(crate) async fn delete(&self, caller: &Caller, id: &JobId) -> Result<(), JobError> {
        let uri = self.uri(caller, id)?;
        match within(&uri, self.storage.delete(&uri)).await {
            Err(JobError::NotFound) => Ok(()),
            other => other,
        }
    }

    fn uri(&self, caller: &Caller, id: &JobId) -> Result<ObjectUri, JobError> {
        let path = GenerationJob::archive_path(&caller.namespace, id.as_str());
        let (Some(outputs), Some(path)) = (&self.outputs, path) else { return Err(JobError::NotFound) };
        outputs.join(&path).map_err(JobError::Archive)
    }
}

/// Does not wait for a storage for as long as a worker would.
async fn within<T>(uri: &ObjectUri, call: impl Future<Output = Result<T, Error>>) -> Result<T, JobError> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Error::NotFound { .. })) => Err(JobError::NotFound),
        Ok(Err(error)) => Err(JobError::Archive(error)),
        Err(elapsed) => {
            Err(JobError::Archive(Error::Unavailable { uri: uri.to_string(), source: Box::new(elapsed) }))
        }
    }
}

/// A record is of the end of an attempt, after which another may have been meant to follow. None will: without an object, a job that did not
/// complete has failed.
fn ended(mut job: GenerationJob) -> GenerationJob {
    let status = job.status.get_or_insert_default();
    if status.phase == Some(Phase::Completed) {
        return job;
    }
    let last = status.attempts.iter().rfind(|attempt| attempt.outcome == Outcome::Failed);
    status.completion_time = last.map(|attempt| attempt.end.clone());
    status.error = Some(last.map_or_else(JobFault::default, fault));
    status.phase = Some(Phase::Failed);
    status.failures = status.failures.saturating_add(1);
    (status.progress, status.estimated_completion_time) = (None, None);
    job
}

fn fault(attempt: &Attempt) -> JobFault {
    JobFault {
        // As the operator has it: without a reason it ran for too long.
        code: attempt.reason.map_or(reason::DEADLINE_EXCEEDED, FailureReason::as_str).to_owned(),
        message: attempt.message.clone().unwrap_or_default(),
        retryable: attempt.reason != Some(FailureReason::InvalidInput),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(status: serde_json::Value) -> GenerationJob {
        serde_json::from_value(json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {"name": "cup"}, "spec": {"input": {}}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_job_that_completed_is_as_its_record_says() {
        let completed = record(json!({"phase": "Completed", "seed": 7}));
        assert_eq!(ended(completed.clone()), completed);
    }

    #[test]
    fn a_job_that_never_completed_failed_as_its_last_attempt_did() {
        let time = "2026-11-24T07:00:00.000000Z";
        let attempt = |number: i32, reason: &str| {
            json!({
                "number": number, "worker": "a", "start": time, "end": time,
                "outcome": "Failed", "reason": reason, "message": format!("attempt {number} failed"),
            })
        };
        let attempts = [attempt(1, "Transient"), attempt(2, "InvalidInput")];
        let progress = json!({"stage": "decode", "percent": 50, "updatedAt": time});
        let processing = json!({
            "phase": "Processing", "failures": 1, "attempts": attempts, "progress": progress,
        });
        let status = ended(record(processing)).status.unwrap();
        let expected =
            JobFault { code: "InvalidInput".into(), message: "attempt 2 failed".into(), retryable: false };
        assert_eq!((status.phase, status.error, status.failures), (Some(Phase::Failed), Some(expected), 2));
        assert_eq!((status.progress, status.completion_time.is_some()), (None, true));
    }
}
