//! A pool's queue and workers, counted as they change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use k8s_openapi::jiff::Timestamp;

use super::durations::Durations;
use super::jobs::Place;
use super::workers::Standing;
use crate::key::Uid;
use crate::metrics::PoolFigures;
use crate::plan::{Census, Circuit, Waiting, crash_delay};
use crate::pod;
use crate::text::clip;
use crate::time::after;
use crate::validate::{Pool, Trouble};

/// The longest message of a condition that the operator writes.
pub(super) const CONDITION_MESSAGE: usize = 1024;

/// A pool's queue and workers, counted as they change.
#[derive(Debug, Default)]
pub(super) struct PoolIndex {
    pub(super) queue: BTreeSet<Place>,
    /// When the jobs in the queue were created.
    ages: BTreeSet<(Timestamp, Uid)>,
    pub(super) idle: BTreeSet<(Timestamp, Uid)>,
    pub(super) starting: usize,
    pub(super) busy: usize,
    pub(super) draining: usize,
    /// Idle and busy workers of an older template.
    pub(super) outdated: BTreeSet<Uid>,
    /// Of those that drain, the ones whose pod is being deleted, and when it should be gone.
    due: HashMap<Uid, Timestamp>,
    /// Workers whose pod is to be deleted.
    pub(super) removable: BTreeSet<Uid>,
    /// How long jobs took that completed.
    pub(super) runs: Durations,
    /// How long workers took until they were ready.
    pub(super) start_times: Durations,
    /// Since when each worker has been starting.
    starts: BTreeMap<Uid, Timestamp>,
    /// Workers that a quota system has not admitted yet.
    pub(super) gated: BTreeSet<Uid>,
    /// Why starting workers cannot start.
    pub(super) troubles: BTreeMap<Uid, Trouble>,
    /// Creations under way: the watch may not show their pods yet.
    pub(super) creating: usize,
    /// Workers that were seen to go while creations are under way: an answer that comes late must not bring them back.
    gone: HashSet<Uid>,
    /// How many workers in a row were refused, or ended before they were ready; the last one's fate, and when to try again.
    failures: u32,
    pub(super) last_failure: Option<Waiting>,
    hold_until: Option<Timestamp>,
    /// Names of workers whose creation had no answer, which are asked for again before others: they may be there.
    unanswered: BTreeSet<String>,
    /// How many names were given.
    named: u64,
    /// Makes names of numbers, and other ones in each process.
    names: RandomState,
    /// Workers whose deletion failed or had no answer, and when to ask for it again.
    pub(super) delete_again: BTreeMap<Uid, Timestamp>,
    pub(super) circuit: Circuit,
    /// The worker and the assignment time of the batch that failed last, which tells as much of the workers as one job.
    pub(super) failed_batch: Option<(String, Timestamp)>,
    /// Why the jobs in the queue wait, as they were last told.
    pub(super) told: Option<Waiting>,
    /// Another reason, and since when it holds.
    pub(super) news: Option<(&'static str, Timestamp)>,
    pub(super) report: Report,
}

/// When the pool's status is to be written.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) in_flight: bool,
    pub(super) due: Option<Timestamp>,
    pub(super) not_before: Option<Timestamp>,
}

impl PoolIndex {
    pub(super) fn restand(&mut self, uid: &Uid, old: Standing, new: Standing) {
        match old {
            Standing::Absent => {}
            Standing::Starting => self.starting -= 1,
            Standing::Idle { since } => _ = self.idle.remove(&(since, uid.clone())),
            Standing::Busy => self.busy -= 1,
            Standing::Draining => self.draining -= 1,
        }
        match new {
            Standing::Absent => {}
            Standing::Starting => self.starting += 1,
            Standing::Idle { since } => _ = self.idle.insert((since, uid.clone())),
            Standing::Busy => self.busy += 1,
            Standing::Draining => self.draining += 1,
        }
    }

    pub(super) fn enqueue(&mut self, place: Place, created: Timestamp) {
        self.ages.insert((created, place.uid.clone()));
        self.queue.insert(place);
    }

    pub(super) fn dequeue(&mut self, place: &Place, created: Timestamp) {
        self.ages.remove(&(created, place.uid.clone()));
        self.queue.remove(place);
    }

    /// Whether jobs wait because the circuit is open, or would. After the pause the next one is the probe: without any the pool takes
    /// jobs like any other, or nobody would ever bring it one.
    pub(super) fn is_held_back(&self, now: Timestamp) -> bool {
        let tries = !self.queue.is_empty() || self.busy > 0;
        self.circuit.is_open() && (tries || self.circuit.pause_ends(now).is_some())
    }

    pub(super) fn figures(&self) -> PoolFigures {
        PoolFigures {
            queued: self.queue.len(),
            oldest: self.ages.first().map(|(created, _)| *created),
            starting: self.starting,
            idle: self.idle.len(),
            busy: self.busy,
            draining: self.draining,
            circuit_open: self.circuit.is_open(),
        }
    }

    pub(super) fn set_due(&mut self, uid: &Uid, due: Option<Timestamp>) {
        match due {
            Some(due) => _ = self.due.insert(uid.clone(), due),
            None => _ = self.due.remove(uid),
        }
    }

    /// How many pods that are being deleted should be gone. On a node that does not answer they stay for as long as the node, and no
    /// worker would ever take their place.
    pub(super) fn overdue(&self, now: Timestamp) -> usize {
        self.due.values().filter(|due| now >= **due).count()
    }

    /// When the next pod should be gone that is being deleted.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.due.values().filter(|due| now < **due).min().copied()
    }

    pub(super) fn set_start(&mut self, uid: &Uid, since: Option<Timestamp>) {
        match since {
            Some(since) => _ = self.starts.insert(uid.clone(), since),
            None => _ = self.starts.remove(uid),
        }
    }

    /// The worker that has been starting for the longest time, and since when.
    pub(super) fn longest_start(&self) -> Option<(&Uid, Timestamp)> {
        self.starts.iter().map(|(uid, since)| (uid, *since)).min_by_key(|(_, since)| *since)
    }

    /// Says whether that changed anything.
    pub(super) fn set_trouble(&mut self, uid: &Uid, trouble: Option<Trouble>) -> bool {
        match trouble {
            Some(trouble) if self.troubles.get(uid) == Some(&trouble) => false,
            Some(trouble) => {
                self.troubles.insert(uid.clone(), trouble);
                true
            }
            None => self.troubles.remove(uid).is_some(),
        }
    }

    /// A worker got ready: workers can start.
    pub(super) fn started(&mut self) {
        self.failures = 0;
        self.last_failure = None;
        self.hold_until = None;
    }

    /// A worker ended, or could not be made, before it was ready.
    pub(super) fn start_failed(&mut self, reason: &'static str, message: &str, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.hold_until = Some(after(now, crash_delay(self.failures)));
        self.last_failure = Some(Waiting { reason, message: clip(message, CONDITION_MESSAGE) });
    }

    /// The name of the next worker to make.
    pub(super) fn next_name(&mut self, pool: &Pool) -> String {
        self.unanswered.pop_first().unwrap_or_else(|| {
            self.named = self.named.wrapping_add(1);
            pod::name(&pool.identity.key.name, self.names.hash_one(self.named))
        })
    }

    /// Nobody knows whether the worker of this name was made.
    pub(super) fn creation_unanswered(&mut self, name: String) {
        self.unanswered.insert(name);
    }

    /// A worker's pod is there.
    pub(super) fn seen(&mut self, name: &str) {
        self.unanswered.remove(name);
    }

    /// Whether the worker's deletion may be asked for.
    pub(super) fn may_delete(&self, uid: &Uid, now: Timestamp) -> bool {
        self.delete_again.get(uid).is_none_or(|time| now >= *time)
    }

    /// When a deletion is to be asked for again.
    pub(super) fn next_deletion(&self, now: Timestamp) -> Option<Timestamp> {
        self.delete_again.values().filter(|time| now < **time).min().copied()
    }

    /// A worker's pod is gone, or another pool's.
    pub(super) fn removed(&mut self, uid: &Uid) {
        self.delete_again.remove(uid);
        if self.creating > 0 {
            self.gone.insert(uid.clone());
        }
    }

    /// The answer to a creation came. Says whether the worker was seen to go already.
    pub(super) fn created(&mut self, uid: Option<&Uid>) -> bool {
        self.creating = self.creating.saturating_sub(1);
        let gone = uid.is_some_and(|uid| self.gone.contains(uid));
        if self.creating == 0 {
            self.gone.clear();
        }
        gone
    }

    pub(super) fn forget_writes(&mut self) {
        self.creating = 0;
        self.gone.clear();
        self.unanswered.clear();
        self.report = Report::default();
    }

    pub(super) fn ready_workers(&self) -> usize {
        self.busy + self.idle.len()
    }

    pub(super) fn has_ready_worker(&self) -> bool {
        self.ready_workers() > 0
    }

    pub(super) fn is_unused(&self) -> bool {
        !self.has_ready_worker()
            && self.starting + self.draining + self.queue.len() + self.removable.len() == 0
    }

    /// How many jobs of the queue workers are needed for.
    fn to_run(&self) -> usize {
        if self.circuit.is_open() { self.queue.len().min(1) } else { self.queue.len() }
    }

    /// Workers that start and are in no trouble, the latest first.
    fn coming(&self) -> Vec<Uid> {
        let mut coming: Vec<_> =
            self.starts.iter().filter(|(uid, _)| !self.troubles.contains_key(*uid)).collect();
        coming.sort_by_key(|(_, since)| Reverse(**since));
        coming.into_iter().map(|(uid, _)| uid.clone()).collect()
    }

    /// How many workers the pool should have.
    pub(super) fn wanted(&self, pool: &Pool) -> usize {
        self.counts().wanted(pool)
    }

    /// What [`crate::plan::scale`] decides by.
    pub(super) fn census(&self) -> Census<'_> {
        Census {
            stuck: self.troubles.keys().chain(&self.gated).cloned().collect(),
            // While creations are under way, some that the watch showed already are counted twice: none is too many.
            coming: if self.creating == 0 { self.coming() } else { Vec::new() },
            ..self.counts()
        }
    }

    /// The census without the names of those that start.
    fn counts(&self) -> Census<'_> {
        Census {
            starting: self.starting + self.creating,
            busy: self.busy,
            draining: self.draining,
            queued: self.to_run(),
            stuck: Vec::new(),
            coming: Vec::new(),
            idle: &self.idle,
            outdated: &self.outdated,
            run: self.runs.median(),
            start: self.start_times.median(),
            hold_until: self.hold_until,
        }
    }
}
