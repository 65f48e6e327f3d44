//! How many jobs that ended are kept, in each namespace.

use std::collections::{BTreeSet, HashMap, HashSet};

use k8s_openapi::jiff::Timestamp;
use trellis_crds::Phase;

use crate::key::Uid;
use crate::settings::Settings;
use crate::validate::Job;

/// A namespace, and whether its jobs completed.
type Shelf = (String, bool);

/// The jobs that ended.
#[derive(Debug, Default)]
pub(super) struct History {
    /// How many are kept of those that completed, and of the others; all where there is no limit.
    limits: (Option<usize>, Option<usize>),
    kept: HashMap<Shelf, BTreeSet<(Timestamp, Uid)>>,
    places: HashMap<Uid, (Shelf, Timestamp)>,
    surplus: HashSet<Uid>,
}

impl History {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { limits: (settings.history_completed, settings.history_failed), ..Self::default() }
    }

    /// Takes in what became of a job. Returns the one that is beyond the limit now: the one that ended first.
    pub(super) fn note(&mut self, job: &Job) -> Option<Uid> {
        let uid = &job.identity.uid;
        let phase = job.object.phase();
        if !phase.is_final() {
            self.forget(uid);
            return None;
        }
        let completed = phase == Phase::Completed;
        let limit = if completed { self.limits.0 } else { self.limits.1 }?;
        if self.places.contains_key(uid) || self.surplus.contains(uid) {
            return None;
        }
        let ended = job.status().and_then(|status| status.completion_time.as_ref());
        let ended = ended.map_or(job.identity.created, |time| time.0);
        let shelf = (job.identity.key.namespace.clone(), completed);
        self.places.insert(uid.clone(), (shelf.clone(), ended));
        let kept = self.kept.entry(shelf).or_default();
        kept.insert((ended, uid.clone()));
        let (_, oldest) = if kept.len() > limit { kept.pop_first()? } else { return None };
        self.places.remove(&oldest);
        self.surplus.insert(oldest.clone());
        Some(oldest)
    }

    /// The job is gone, or goes on.
    pub(super) fn forget(&mut self, uid: &Uid) {
        self.surplus.remove(uid);
        let Some((shelf, ended)) = self.places.remove(uid) else { return };
        if let Some(kept) = self.kept.get_mut(&shelf) {
            kept.remove(&(ended, uid.clone()));
            if kept.is_empty() {
                self.kept.remove(&shelf);
            }
        }
    }

    /// Whether the job is beyond its namespace's limit.
    pub(super) fn is_surplus(&self, uid: &Uid) -> bool {
        self.surplus.contains(uid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn job(n: usize, namespace: &str, phase: Phase, ended: i64) -> Job {
        let ended = Timestamp::from_second(ended).unwrap();
        Job::new(
            serde_json::from_value(json!({
                "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
                "metadata": {
                    "name": format!("job-{n}"), "namespace": namespace, "uid": format!("job-{n}"),
                    "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
                },
                "spec": {"input": {"image": {"sources": [{"uri": "gs://b/cup.png"}]}}},
                "status": {"phase": phase, "completionTime": format!("{ended:.6}")},
            }))
            .unwrap(),
        )
        .unwrap()
    }

    proptest! {
        #[test]
        fn beyond_the_limit_those_that_ended_first_go_and_nothing_else(
            jobs in prop::collection::vec(
                (prop::sample::select(vec!["a", "b"]), prop::sample::select(Phase::ALL.to_vec()), 0..50_i64),
                0..40,
            ),
            limits in (prop::option::of(0..4_usize), prop::option::of(0..4_usize)),
        ) {
            let mut history = History { limits, ..History::default() };
            let jobs: Vec<Job> = jobs.iter().enumerate()
                .map(|(n, (namespace, phase, ended))| job(n, namespace, *phase, *ended))
                .collect();
            for job in &jobs {
                let gone = history.note(job);
                prop_assert!(gone.is_none_or(|gone| history.is_surplus(&gone)));
            }
            for job in &jobs {
                let phase = job.object.phase();
                let completed = phase == Phase::Completed;
                let ended = |job: &Job| (job.status().unwrap().completion_time.clone(), job.identity.uid.clone());
                let later = jobs.iter().filter(|other| {
                    other.identity.key.namespace == job.identity.key.namespace
                        && other.object.is_finished()
                        && (other.object.phase() == Phase::Completed) == completed
                        && ended(other) > ended(job)
                });
                let limit = if completed { limits.0 } else { limits.1 };
                let beyond = phase.is_final() && limit.is_some_and(|limit| later.count() >= limit);
                prop_assert_eq!(history.is_surplus(&job.identity.uid), beyond, "{}", job.identity.key);
            }
        }
    }

    #[test]
    fn a_job_that_is_tried_again_or_gone_takes_no_place() {
        let mut history = History { limits: (Some(1), Some(1)), ..History::default() };
        let failed = job(1, "a", Phase::Failed, 1);
        assert_eq!(history.note(&failed), None);
        assert_eq!(history.note(&failed), None, "seen again");
        assert_eq!(history.note(&job(1, "a", Phase::Pending, 1)), None);
        assert_eq!(history.note(&job(2, "a", Phase::Failed, 2)), None);
        history.forget(&"job-2".into());
        assert!(history.kept.is_empty() && history.places.is_empty());
    }
}
