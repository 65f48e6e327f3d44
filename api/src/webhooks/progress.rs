//! Whose progress is told: of each job that runs once in a while, and only what is new.

use std::collections::{HashMap, HashSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use trellis_crds::{GenerationJob, Phase, WebhookEvent, WebhookMessage};

/// The least time between two messages about one job.
const EVERY: SignedDuration = SignedDuration::from_secs(5);

/// What was told of the jobs that run.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// By the job's uid: the progress that was told last, by its time, and when.
    told: HashMap<String, (Timestamp, Timestamp)>,
}

impl Progress {
    /// The message about the job's progress, where one is to be sent now.
    pub(super) fn next(&mut self, job: &GenerationJob, now: Timestamp) -> Option<WebhookMessage> {
        let uid = job.metadata.uid.as_deref()?;
        if job.phase() != Phase::Processing {
            self.told.remove(uid);
            return None;
        }
        let wanted = job.spec.webhook.as_ref()?.events.contains(&WebhookEvent::Progress);
        let time = job.status.as_ref()?.progress.as_ref().filter(|_| wanted)?.updated_at.0;
        if self.told.get(uid).is_some_and(|(last, sent)| time <= *last || now < *sent + EVERY) {
            return None;
        }
        self.told.insert(uid.to_owned(), (time, now));
        Some(WebhookMessage { event: WebhookEvent::Progress, time })
    }

    /// The job is gone.
    pub(super) fn forget(&mut self, uid: &str) {
        self.told.remove(uid);
    }

    /// Only these jobs are left.
    pub(super) fn keep(&mut self, uids: &HashSet<String>) {
        self.told.retain(|uid, _| uids.contains(uid));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(phase: &str, second: u32) -> GenerationJob {
        serde_json::from_value(json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {"name": "cup", "uid": "u"},
            "spec": {
                "input": {"image": {"sources": [{"uri": "gs://b/cup.png"}]}},
                "webhook": {"url": "https://a.example", "events": ["progress"]},
            },
            "status": {
                "phase": phase,
                "progress": {"stage": "s", "percent": 1, "updatedAt": format!("2026-01-01T00:00:{second:02}.000000Z")},
            },
        }))
        .unwrap()
    }

    fn at(second: u32) -> Timestamp {
        format!("2026-01-01T00:01:{second:02}Z").parse().unwrap()
    }

    #[test]
    fn progress_is_told_every_few_seconds_at_most_and_only_when_it_is_new() {
        let mut progress = Progress::default();
        assert_eq!(progress.next(&job("Pending", 1), at(0)), None);
        assert!(progress.next(&job("Processing", 1), at(0)).is_some());
        assert_eq!(progress.next(&job("Processing", 2), at(4)), None, "too soon");
        assert_eq!(progress.next(&job("Processing", 1), at(9)), None, "nothing new");
        assert!(progress.next(&job("Processing", 3), at(9)).is_some());
        let mut others = job("Processing", 9);
        others.spec.webhook.as_mut().unwrap().events = vec![WebhookEvent::Completed];
        assert_eq!(progress.next(&others, at(30)), None, "not asked for");
    }

    #[test]
    fn nothing_is_remembered_of_jobs_that_do_not_run() {
        let mut progress = Progress::default();
        for end in 0..3 {
            progress.next(&job("Processing", 1), at(0));
            assert_eq!(progress.told.len(), 1);
            match end {
                0 => drop(progress.next(&job("Completed", 1), at(1))),
                1 => progress.forget("u"),
                _ => progress.keep(&HashSet::new()),
            }
            assert!(progress.told.is_empty());
        }
    }
}
