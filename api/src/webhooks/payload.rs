//! What a message says: the event, and the job as it is when the message is sent.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};
use trellis_crds::{GenerationJob, WebhookMessage, labels};

use crate::jobs::view::{Job, format_name};

/// The user that the job's messages are signed for; `""` of a job that did not come over REST.
pub(super) fn user(job: &GenerationJob) -> &str {
    let of = |name: &str| job.metadata.labels.as_ref()?.get(name).map(String::as_str);
    of(labels::USER).filter(|_| of(labels::MANAGED_BY) == Some(labels::MANAGED_BY_API)).unwrap_or_default()
}

/// The message's content: `{type, timestamp, data}`, where `data` is what `GET /api/v1/jobs/{id}` answers, without what the webhook was told. A job that
/// did not come over REST has no links there: its files have their addresses in the storage instead, and it has its namespace.
pub(super) fn payload(job: &GenerationJob, message: &WebhookMessage) -> Vec<u8> {
    let mut data = object(job);
    data.remove("webhook");
    if user(job).is_empty() {
        data.remove("links");
        data.insert("namespace".into(), job.namespace().into());
        data.insert("outputs".into(), files(job));
    }
    let time: Timestamp = message.time;
    let payload =
        json!({ "type": format!("job.{}", message.event.as_str()), "timestamp": time, "data": data });
    payload.to_string().into_bytes()
}

fn object(job: &GenerationJob) -> Map<String, Value> {
    match serde_json::to_value(Job::from(job)) {
        Ok(Value::Object(object)) => object,
        // A view of a job is an object with string keys.
        _ => Map::new(),
    }
}

fn files(job: &GenerationJob) -> Value {
    let outputs = job.status.as_ref().map(|status| status.outputs.as_slice()).unwrap_or_default();
    let file = |file: &trellis_crds::OutputFile| json!({ "format": format_name(file), "bytes": file.bytes, "sha256": file.sha256, "url": file.uri });
    outputs.iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(labels: &Value) -> GenerationJob {
        serde_json::from_value(json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {"name": "cup", "namespace": "team", "uid": "u", "labels": labels},
            "spec": {
                "input": {"image": {"sources": [{"uri": "gs://b/cup.png"}]}},
                "webhook": {"url": "https://a.example/token"},
            },
            "status": {
                "phase": "Completed", "completionTime": "2026-01-01T00:01:00.000000Z",
                "outputs": [{"format": "glb", "uri": "gs://b/model.glb", "bytes": 7, "sha256": "aa"}],
            },
        }))
        .unwrap()
    }

    fn told(labels: &Value) -> Value {
        let job = job(labels);
        let [message] = job.webhook_messages()[..] else { panic!("one message") };
        let payload = payload(&job, &message);
        assert!(!String::from_utf8_lossy(&payload).contains("token"), "the receiver's address is its own");
        serde_json::from_slice(&payload).unwrap()
    }

    #[test]
    fn a_message_holds_the_job_as_rest_answers_it() {
        let rest = json!({"app.kubernetes.io/managed-by": "trellis-api", "trellis3d.dev/user": "alice"});
        let told = told(&rest);
        assert_eq!(told["type"], "job.completed");
        assert_eq!(told["timestamp"], "2026-01-01T00:01:00Z");
        assert_eq!(told["data"]["status"], "completed");
        assert_eq!(told["data"]["links"]["self"], "/api/v1/jobs/cup");
        assert_eq!(told["data"]["outputs"][0]["url"], "/api/v1/jobs/cup/result?format=glb");
        assert_eq!(user(&job(&rest)), "alice");
    }

    #[test]
    fn a_job_that_rest_does_not_know_is_told_with_its_files_in_the_storage() {
        for labels in [json!({}), json!({"trellis3d.dev/user": "alice"})] {
            let told = told(&labels);
            assert_eq!(told["data"]["links"], Value::Null);
            assert_eq!(told["data"]["namespace"], "team");
            assert_eq!(told["data"]["outputs"][0]["url"], "gs://b/model.glb");
            assert_eq!(user(&job(&labels)), "");
        }
    }
}
