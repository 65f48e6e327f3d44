//! GenerationJob: one request for a 3D asset, and what became of it.
// KubeSchema copies each struct, with its `pub`, into a function body.
#![expect(unreachable_pub)]

mod batch_key;
mod file_kind;
mod input;
mod output;
mod queue;
mod sampling;
mod spec;
mod status;
mod webhook;

use crate::labels;

pub use batch_key::*;
pub use file_kind::*;
pub use input::*;
pub use output::*;
pub use queue::*;
pub use sampling::*;
pub use spec::*;
pub use status::*;
pub use webhook::*;

/// The folder of records below the installation's destination.
pub const ARCHIVE: &str = "archive";
/// The name of the record in the folder of its attempt, where it is written last.
pub const MANIFEST: &str = "manifest.json";

impl GenerationJob {
    /// The phase, `Pending` for a job that no one has looked at yet.
    pub fn phase(&self) -> Phase {
        self.status.as_ref().and_then(|s| s.phase).unwrap_or_default()
    }

    /// Whether the job ended: nothing will happen to it any more.
    pub fn is_finished(&self) -> bool {
        self.phase().is_final()
    }

    /// The worker that has the job now, where one has.
    pub fn assignment(&self) -> Option<&Assignment> {
        self.status.as_ref().and_then(|s| s.assignment.as_ref())
    }

    /// Where the files of an attempt lie below the destination: `<namespace>/<job uid>/<attempt>`. The chart's admission policy holds
    /// workers to it.
    pub fn folder_of_attempt(&self, attempt: i32) -> String {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let uid = self.metadata.uid.as_deref().unwrap_or_default();
        format!("{namespace}/{uid}/{attempt}")
    }

    /// Where the record of the newest attempt at a job of this name lies below the installation's destination:
    /// `archive/<namespace>/<job name>.json`. `None` for names that Kubernetes gives to no object, which could lead elsewhere.
    pub fn archive_path(namespace: &str, name: &str) -> Option<String> {
        let given = is_object_name(namespace) && is_object_name(name);
        given.then(|| format!("{ARCHIVE}/{namespace}/{name}.json"))
    }

    /// The W3C `traceparent` of the trace that the job is part of, by its annotation; `None` where it is part of none.
    pub fn traceparent(&self) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(labels::TRACEPARENT).map(String::as_str)
    }

    /// How the assigned attempt ended; `None` while it runs, or where nothing is assigned.
    pub fn current_attempt_ended(&self) -> Option<&Attempt> {
        let status = self.status.as_ref()?;
        let number = status.assignment.as_ref()?.attempt;
        status.attempts.iter().find(|a| a.number == number)
    }

    /// The number of the attempt that comes next; the first is 1.
    pub fn next_attempt_number(&self) -> i32 {
        let Some(status) = &self.status else { return 1 };
        let recorded = status.attempts.iter().map(|a| a.number);
        let assigned = status.assignment.iter().map(|a| a.attempt);
        recorded.chain(assigned).max().unwrap_or(0).saturating_add(1)
    }
}

/// Whether Kubernetes gives such names to namespaces and jobs: lower-case letters, digits, `-` and `.`, and neither of these at an end.
pub fn is_object_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().next_back()];
    ends.iter().all(|end| end.is_some_and(alphanumeric))
        && name.bytes().all(|byte| alphanumeric(byte) || b"-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use k8s_openapi::jiff::Timestamp;

    fn assigned(attempt: i32) -> Assignment {
        Assignment {
            pool: "image".into(),
            worker: "image-abc".into(),
            pod_uid: "1".into(),
            attempt,
            time: MicroTime(Timestamp::UNIX_EPOCH),
            batch: None,
        }
    }

    fn lost(number: i32) -> Attempt {
        Attempt {
            number,
            worker: "image-abc".into(),
            start: MicroTime(Timestamp::UNIX_EPOCH),
            end: MicroTime(Timestamp::UNIX_EPOCH),
            outcome: Outcome::Lost,
            reason: None,
            message: None,
        }
    }

    #[test]
    fn attempt_numbers_go_on_after_the_oldest_entries_are_dropped() {
        let mut job = GenerationJob::new("cup", GenerationJobSpec::default());
        assert_eq!(job.next_attempt_number(), 1);
        let status = job.status.insert(GenerationJobStatus::default());
        for number in 1..=14 {
            status.record_attempt(lost(number));
        }
        assert_eq!(status.attempts.len(), MAX_ATTEMPTS);
        assert_eq!(job.next_attempt_number(), 15);
    }

    #[test]
    fn an_attempt_has_ended_when_its_own_number_is_recorded() {
        let mut job = GenerationJob::new("cup", GenerationJobSpec::default());
        let status = job.status.insert(GenerationJobStatus::default());
        status.record_attempt(lost(1));
        status.assignment = Some(assigned(2));
        assert_eq!(job.current_attempt_ended(), None);
        assert_eq!(job.next_attempt_number(), 3);
        job.status.as_mut().unwrap().record_attempt(lost(2));
        assert_eq!(job.current_attempt_ended().map(|a| a.number), Some(2));
    }

    #[test]
    fn a_record_lies_in_the_archive_whatever_is_taken_for_a_name() {
        let path = |namespace, name| GenerationJob::archive_path(namespace, name);
        assert_eq!(path("shop", "cup.v2-1").as_deref(), Some("archive/shop/cup.v2-1.json"));
        for name in ["", ".", "..", "../cup", "a/b", "a/../b", "-cup", "cup.", "Cup", "a b", "a%2fb", "ü"] {
            assert_eq!(path("shop", name), None, "{name}");
            assert_eq!(path(name, "cup"), None, "{name}");
        }
    }

    #[test]
    fn the_types_add_and_lose_nothing_of_a_stored_specification() {
        let stored = serde_json::json!({
            "input": { "image": { "sources": [{ "uri": "gs://b/cup.png" }], "multiImageMode": "stochastic" } },
            "model": "trellis-image-large",
            "quality": "high",
            "sampling": { "seed": 1, "samples": 2, "structuredLatent": { "steps": 30, "cfgStrength": 3.5 } },
            "output": {
                "formats": ["glb", "ply"],
                "mesh": { "simplify": 0.9, "textureSize": 2048, "fillHoles": true },
                "preview": true,
                "destination": "gs://b/assets"
            },
            "pool": "image",
            "priority": 5,
            "backoffLimit": 0,
            "deadlines": { "queueSeconds": 60, "startSeconds": 300, "runSeconds": 3600 },
            "ttlSecondsAfterFinished": 60,
            "ttlSecondsAfterFailed": 600,
            "suspend": false,
            "cancel": true,
            "webhook": { "url": "https://example.com/done", "events": ["progress", "completed"] }
        });
        let typed: GenerationJobSpec = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), stored);
    }

    #[test]
    fn an_untouched_status_is_written_as_nothing() {
        assert_eq!(serde_json::to_value(GenerationJobStatus::default()).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn a_job_without_status_is_pending() {
        let job = GenerationJob::new("cup", GenerationJobSpec::default());
        assert_eq!(job.phase(), Phase::Pending);
        assert!(!job.is_finished());
    }
}
