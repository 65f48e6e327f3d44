//! Pools: which are known, what is to be done about each, its status.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use trellis_crds::WorkerPoolStatus;
use trellis_crds::conditions::{READY, RECONCILING, STALLED, get};

use super::pool_index::{PoolIndex, Report};
use super::timers::Subject;
use super::{Batch, World};
use crate::action::Action;
use crate::apply::ApplyError;
use crate::key::{Key, Uid};
use crate::plan::Circuit;
use crate::status::{self, PoolFacts};
use crate::time::after;
use crate::validate::Pool;

/// How long counts in a pool's status may lag behind: warm jobs come and go faster, and cost the pool no write.
const COUNTS_LAG: SignedDuration = SignedDuration::from_secs(10);

impl World {
    /// The pool's index; a queue or a worker may be known before its pool.
    pub(super) fn index(&mut self, key: &Key) -> &mut PoolIndex {
        self.indexes.entry(key.clone()).or_default()
    }

    pub(super) fn observe_pool(&mut self, pool: Pool, now: Timestamp) {
        let key = pool.identity.key.clone();
        let known = self.pools.get(&key);
        let same = known.filter(|known| known.identity.uid == pool.identity.uid);
        if same.is_some_and(|known| known.identity.version >= pool.identity.version) {
            return;
        }
        if pool.object.metadata.deletion_timestamp.is_some() {
            return self.remove_pool(&pool.identity.uid, now);
        }
        let generation = |pool: &Pool| pool.object.metadata.generation;
        let changed = same.map(generation) != Some(generation(&pool));
        if !self.leading || same.is_none() {
            let open = pool.status().and_then(|status| status.circuit.as_ref());
            self.index(&key).circuit = Circuit::stored(open);
        }
        self.pools.insert(key.clone(), pool);
        if changed {
            self.pools_changed(&key, now);
        }
        self.dirty_pools.insert(key);
    }

    pub(super) fn remove_pool(&mut self, uid: &Uid, now: Timestamp) {
        let Some(key) = self.pools.values().find(|pool| pool.identity.uid == *uid) else { return };
        let key = key.identity.key.clone();
        self.pools.remove(&key);
        self.dirty_pools.insert(key.clone());
        self.pools_changed(&key, now);
    }

    /// Jobs that wait may belong elsewhere now, and workers may be outdated.
    fn pools_changed(&mut self, key: &Key, now: Timestamp) {
        let waiting = self.jobs.iter().filter(|(_, entry)| entry.waits()).map(|(uid, _)| uid.clone());
        self.dirty_jobs.extend(waiting);
        let of_pool = self.workers.iter().filter(|(_, entry)| entry.worker.pool == *key);
        let workers: Vec<Uid> = of_pool.map(|(uid, _)| uid.clone()).collect();
        workers.iter().for_each(|uid| self.refresh_worker(uid, now));
    }

    /// Decides about one pool: who gets a job, how many workers there are to be, what its status says.
    pub(super) fn plan_pool(&mut self, key: &Key, now: Timestamp, batch: &mut Batch) {
        let told = self.tell_queue(key, now);
        let Some(pool) = self.pools.get(key).cloned() else {
            if self.indexes.get(key).is_some_and(PoolIndex::is_unused) {
                self.indexes.remove(key);
                self.timers.set(Subject::Pool(key.clone()), None);
            }
            return self.metrics.forget_pool(key);
        };
        let next_late = self.replace_late_starts(&pool, now);
        // Those that are to go get no job any more.
        let scale = self.decide_scale(&pool, now);
        self.pair(key, &scale.delete, now, batch);
        let look_again = self.scale(&pool, scale, now, batch);
        self.remove_workers(key, now, batch);
        let again = self.index(key).next_deletion(now);
        let report = self.report(&pool, now, batch);
        let pause_ends = self.index(key).circuit.pause_ends(now);
        let look_again = [look_again, next_late, again, report, pause_ends, told].into_iter().flatten().min();
        self.timers.set(Subject::Pool(key.clone()), look_again);
        let figures = self.index(key).figures();
        self.metrics.set_pool(key, figures);
        if batch.is_full() {
            self.dirty_pools.insert(key.clone());
        }
    }

    /// Asks for a status write where one is due, and says when one will be.
    fn report(&mut self, pool: &Pool, now: Timestamp, batch: &mut Batch) -> Option<Timestamp> {
        let key = &pool.identity.key;
        let trouble = self.trouble(key);
        let waits_for_nodes = self.waits_for_nodes(key);
        let index = self.index(key);
        let facts = PoolFacts {
            starting: index.starting,
            idle: index.idle.len(),
            busy: index.busy,
            draining: index.draining,
            queued: index.queue.len(),
            wanted: index.wanted(pool),
            outdated: index.outdated.len(),
            gated: index.gated.len(),
            circuit: index.circuit.to_store(),
            held_back: index.is_held_back(now),
            trouble,
            waits_for_nodes,
        };
        let status = status::pool(pool, &facts, now);
        let report = &mut index.report;
        if pool.status() == Some(&status) {
            report.due = None;
            return None;
        }
        if report.in_flight {
            return None;
        }
        let urgent = pool.status().is_none_or(|old| differs_in_substance(old, &status));
        let due = if urgent { now } else { *report.due.get_or_insert(after(now, COUNTS_LAG)) };
        let due = report.not_before.map_or(due, |time| time.max(due));
        if now < due || batch.is_full() {
            return Some(due);
        }
        *report = Report { in_flight: true, ..Report::default() };
        batch.push(Action::ReportPool { pool: pool.clone(), status: Box::new(status) });
        None
    }

    pub(super) fn report_ended(&mut self, key: &Key, result: Result<Pool, ApplyError>, now: Timestamp) {
        let not_before = result.is_err().then(|| after(now, COUNTS_LAG));
        self.index(key).report = Report { not_before, ..Report::default() };
        self.dirty_pools.insert(key.clone());
        if let Ok(pool) = result {
            self.observe_pool(pool, now);
        }
    }
}

/// Whether more than counts and wording changed.
fn differs_in_substance(old: &WorkerPoolStatus, new: &WorkerPoolStatus) -> bool {
    let substance = |status: &WorkerPoolStatus| {
        let condition =
            |kind| get(&status.conditions, kind).map(|found| (found.status.clone(), found.reason.clone()));
        let conditions = [READY, RECONCILING, STALLED].map(condition);
        (status.observed_generation, status.selector.clone(), status.circuit.clone(), conditions)
    };
    substance(old) != substance(new)
}
