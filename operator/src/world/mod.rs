//! What the operator knows: jobs, pools and workers as the watches and its own writes showed them last, with the indexes by which a
//! decision costs O(log n). One task owns it. No network in here, no clock.

mod batch;
mod durations;
mod history;
mod jobs;
mod notices;
mod pairing;
mod pool_index;
mod pools;
mod relist;
mod scaling;
#[cfg(test)]
mod tests;
mod timers;
mod waiting;
mod workers;
mod writes;

pub(crate) use batch::Batch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::action::{Action, Applied, Notice};
use crate::key::{Key, Uid};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::validate::Pool;
use history::History;
use jobs::JobEntry;
use notices::Notices;
use pool_index::PoolIndex;
use relist::Relists;
use timers::{Subject, Timers};
use workers::{Load, WorkerEntry};

/// Everything the operator knows.
#[derive(Debug)]
pub(crate) struct World {
    settings: Arc<Settings>,
    metrics: Metrics,
    jobs: HashMap<Uid, JobEntry>,
    pools: BTreeMap<Key, Pool>,
    workers: HashMap<Uid, WorkerEntry>,
    /// By worker, whether there is a pod for it or not.
    loads: HashMap<Uid, Load>,
    indexes: BTreeMap<Key, PoolIndex>,
    history: History,
    relists: Relists,
    timers: Timers,
    dirty_jobs: BTreeSet<Uid>,
    dirty_pools: BTreeSet<Key>,
    /// Jobs whose status is to say why they wait, once there is room for that, those that wait longest first.
    unexplained: BTreeSet<(Timestamp, Uid)>,
    notices: Notices,
    leading: bool,
}

impl World {
    pub(crate) fn new(settings: Arc<Settings>, metrics: Metrics) -> Self {
        Self {
            history: History::new(&settings),
            settings,
            metrics,
            jobs: HashMap::new(),
            pools: BTreeMap::new(),
            workers: HashMap::new(),
            loads: HashMap::new(),
            indexes: BTreeMap::new(),
            relists: Relists::default(),
            timers: Timers::default(),
            dirty_jobs: BTreeSet::new(),
            dirty_pools: BTreeSet::new(),
            unexplained: BTreeSet::new(),
            notices: Notices::default(),
            leading: false,
        }
    }

    /// Whether every kind was listed completely at least once.
    pub(crate) fn is_complete(&self) -> bool {
        self.relists.all_done()
    }

    /// When to plan again though nothing happens.
    pub(crate) fn next_time(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// This replica is to write from now on: everything is to be looked at.
    pub(crate) fn begin_term(&mut self) {
        self.leading = true;
        // Jobs that ended long ago name workers of the past.
        self.loads.retain(|worker, load| !load.jobs.is_empty() || self.workers.contains_key(worker));
        self.dirty_jobs.extend(self.jobs.keys().cloned());
        self.dirty_pools.extend(self.indexes.keys().cloned());
    }

    /// This replica must not write any more. What it had under way may be carried out all the same.
    pub(crate) fn end_term(&mut self, now: Timestamp) {
        self.leading = false;
        self.notices = Notices::default();
        self.unexplained.clear();
        let jobs: Vec<Uid> = self.jobs.keys().cloned().collect();
        for uid in jobs {
            self.abandon_write(&uid, now);
        }
        let workers: Vec<Uid> = self.workers.keys().cloned().collect();
        for uid in workers {
            self.doubt_deletion(&uid, now);
        }
        self.indexes.values_mut().for_each(PoolIndex::forget_writes);
    }

    /// Has an event published, by the replica that leads.
    fn announce(&mut self, notice: Notice) {
        if self.leading {
            self.notices.push(notice);
        }
    }

    /// The events that are still to be published.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.take_all()
    }

    /// Decides what is to be done now, as far as there is room in the batch.
    pub(crate) fn plan(&mut self, now: Timestamp, batch: &mut Batch) {
        while let Some(subject) = self.timers.pop_due(now) {
            match subject {
                Subject::Job(uid) => _ = self.dirty_jobs.insert(uid),
                Subject::Pool(key) => _ = self.dirty_pools.insert(key),
            }
        }
        while !batch.is_full()
            && let Some(notice) = self.notices.next()
        {
            batch.push(Action::Announce(notice));
        }
        while !batch.is_full() {
            if let Some(uid) = self.dirty_jobs.pop_first() {
                self.plan_job(&uid, now, batch);
            } else if let Some(key) = self.dirty_pools.pop_first() {
                self.plan_pool(&key, now, batch);
            } else if !batch.is_busy()
                && let Some((_, uid)) = self.unexplained.pop_first()
            {
                self.plan_job(&uid, now, batch);
            } else {
                break;
            }
        }
    }

    /// Takes in what came of an action.
    pub(crate) fn settle(&mut self, applied: Applied, now: Timestamp) {
        match applied {
            Applied::Announced { .. } => self.notices.published(),
            Applied::Decided { uid, result, notice } => {
                self.decision_ended(&uid, result, now);
                notice.into_iter().for_each(|notice| self.announce(notice));
            }
            Applied::WorkerCreated { pool, name, result } => {
                let worker = self.creation_ended(&pool, name, result, now);
                if let Some(worker) = worker {
                    self.relists.keep_worker(&worker.identity.uid);
                    self.observe_worker(worker, now);
                }
            }
            Applied::WorkerDeleted { uid, result } => self.deletion_ended(&uid, result, now),
            Applied::PoolReported { pool, result } => self.report_ended(&pool, result, now),
        }
    }
}
