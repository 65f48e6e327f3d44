//! A job in little memory.

use std::sync::Arc;

use trellis_crds::{GenerationJob, Phase, conditions};

/// What an annotation of `kubectl apply` begins with that holds the object a second time.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied";

/// What answers are made from, as JSON: a fifth of what the object takes, and to read it costs a few microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Packed(Arc<[u8]>);

impl Packed {
    /// Packs a job, without what no answer needs.
    pub(crate) fn new(mut job: GenerationJob) -> Result<Self, serde_json::Error> {
        job.metadata.managed_fields = None;
        if let Some(annotations) = &mut job.metadata.annotations {
            annotations.retain(|name, _| !name.starts_with(LAST_APPLIED));
        }
        let waits = job.phase() == Phase::Pending;
        if let Some(status) = &mut job.status {
            status.attempts = Vec::new();
            status.conditions.retain(|condition| waits && condition.type_ == conditions::SCHEDULED);
        }
        Ok(Self(serde_json::to_vec(&job)?.into()))
    }

    /// The job.
    pub(crate) fn unpack(&self) -> Result<GenerationJob, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jobs::view::Job;

    fn job(status: serde_json::Value) -> GenerationJob {
        let time = "2026-11-24T07:00:00.000000Z";
        let conditions = ["Scheduled", "Ready"].map(|kind| {
            json!({
                "type": kind, "status": "False", "reason": "NoIdleWorker", "message": "busy",
                "lastTransitionTime": "2026-11-24T07:00:00Z",
            })
        });
        let mut job: GenerationJob = serde_json::from_value(json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {
                "name": "gj-1", "namespace": "team", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-11-24T07:00:00Z",
                "labels": {"trellis3d.dev/user": "alice"},
                "annotations": {"trellis3d.dev/request-digest": "d", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": {"input": {"text": {"prompt": "a cup"}}},
            "status": {
                "conditions": conditions,
                "attempts": [{"number": 1, "worker": "a", "start": time, "end": time, "outcome": "Lost"}],
            },
        }))
        .unwrap();
        let mut all = serde_json::to_value(job.status).unwrap();
        all.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        job.status = serde_json::from_value(all).unwrap();
        job
    }

    #[test]
    fn a_packed_job_is_shown_as_the_whole_one_is() {
        let error = json!({"code": "OutOfMemory", "message": "too large", "retryable": true});
        for status in [
            json!({"phase": "Pending"}),
            json!({"phase": "Processing", "failures": 1}),
            json!({"phase": "Failed", "error": error}),
            json!({"phase": "Completed", "outputs": [{"format": "glb", "uri": "gs://b/m.glb", "bytes": 1, "sha256": "0"}]}),
        ] {
            let whole = job(status);
            let unpacked = Packed::new(whole.clone()).unwrap().unpack().unwrap();
            let shown = |job: &GenerationJob| serde_json::to_value(Job::from(job)).unwrap();
            assert_eq!(shown(&unpacked), shown(&whole));
            assert_eq!(unpacked.metadata.annotations.as_ref().unwrap().len(), 1);
            assert!(unpacked.status.unwrap().attempts.is_empty());
        }
    }
}
