//! Which job goes to which worker, and whether a pool's workers are to get any.

use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;

use super::jobs::JobEntry;
use super::pool_index::PoolIndex;
use super::{Batch, World};
use crate::action::Notice;
use crate::key::{Key, Uid};
use crate::plan::{Seat, Trial};
use crate::validate::Job;

/// How many jobs from the head of a queue a probe is chosen of.
const PROBES: usize = 16;
/// How many jobs from the head of a queue are looked at for those that fit together.
const NEIGHBOURS: usize = 64;

impl World {
    /// Gives jobs to workers, the first in the queue to the one idle for the shortest time: so that others get old enough to go.
    pub(super) fn pair(&mut self, key: &Key, going: &[Uid], now: Timestamp, batch: &mut Batch) {
        while !batch.is_full() {
            let Some(index) = self.indexes.get(key).filter(|index| index.circuit.room(index.busy, now) > 0)
            else {
                return;
            };
            let mut idle = index.idle.iter().rev().filter(|(_, worker)| !going.contains(worker));
            let seat = idle.next().and_then(|(_, worker)| self.seat(worker, key, now));
            let Some(mut seat) = seat else { return };
            let jobs = self.next_jobs(index, self.places(&seat).min(batch.room()));
            if jobs.is_empty() {
                return;
            }
            seat.batch = jobs.len();
            for job in jobs {
                self.assign(&job, seat.clone(), now, batch);
            }
        }
    }

    /// The jobs of the queue about which nothing is being written, in their order.
    fn free_jobs<'a>(&'a self, index: &'a PoolIndex) -> impl Iterator<Item = &'a JobEntry> {
        let entries = index.queue.iter().filter_map(|place| self.jobs.get(&place.uid));
        entries.filter(|entry| entry.write.is_none())
    }

    /// How many jobs the worker may be given together.
    fn places(&self, seat: &Seat) -> usize {
        let (worker, pool) = (self.workers.get(&seat.uid), self.pools.get(&seat.pool));
        worker.zip(pool).map_or(1, |(worker, pool)| {
            pool.batch_size().min(worker.jobs_left(self.loads.get(&seat.uid), pool)).max(1)
        })
    }

    /// The job to run next, and up to `places` in all that can be computed with it. One that failed may have taken its worker with it, so it
    /// runs alone, and so does one that tries whether workers work.
    fn next_jobs(&self, index: &PoolIndex, places: usize) -> Vec<Uid> {
        let Some(first) = self.next_job(index) else { return Vec::new() };
        let key = |entry: &JobEntry| entry.job.batch_key();
        let shared = self.jobs.get(&first).and_then(key).filter(|_| places > 1 && !index.circuit.is_open());
        let Some(shared) = shared else { return vec![first] };
        let others = self.free_jobs(index).take(NEIGHBOURS).filter(|entry| entry.job.identity.uid != first);
        let others = others.filter(|other| key(other).as_ref() == Some(&shared)).take(places - 1);
        let others: Vec<_> = others.map(|entry| entry.job.identity.uid.clone()).collect();
        [first].into_iter().chain(others).collect()
    }

    /// The job to run next. To try workers with that failed: of the first ones that which failed the least itself.
    fn next_job(&self, index: &PoolIndex) -> Option<Uid> {
        let failures = |entry: &&JobEntry| entry.job.status().map_or(0, |status| status.failures);
        let mut jobs = self.free_jobs(index);
        let next = if index.circuit.is_open() { jobs.take(PROBES).min_by_key(failures) } else { jobs.next() };
        next.map(|entry| entry.job.identity.uid.clone())
    }

    /// Learns from attempts that ended whether the pool's workers work.
    pub(super) fn try_circuit(&mut self, known: &Job, job: &Job, now: Timestamp) {
        let Some(key) = known.assigned_pool().or_else(|| job.assigned_pool()) else { return };
        let trials: Vec<Trial> = job.attempts_since(known).filter_map(Trial::of).collect();
        let assigned = known.object.assignment().filter(|assignment| assignment.batch.is_some());
        let of_batch = assigned.map(|assignment| (assignment.pod_uid.clone(), assignment.time.0));
        for trial in trials {
            let index = self.index(&key);
            if trial == Trial::Failed && of_batch.is_some() && index.failed_batch == of_batch {
                continue;
            }
            if trial == Trial::Failed {
                index.failed_batch.clone_from(&of_batch);
            }
            let before = index.circuit.is_open();
            index.circuit = std::mem::take(&mut index.circuit).after(trial, &job.identity.uid, now);
            let opened = index.circuit.is_open();
            self.dirty_pools.insert(key.clone());
            let Some(pool) = self.pools.get(&key).filter(|_| opened != before) else { continue };
            let notice = if opened {
                let note = "The workers failed at one job after another: one job at a time is tried until one works.";
                Notice::pool(pool, EventType::Warning, "CircuitOpened", note)
            } else {
                Notice::pool(pool, EventType::Normal, "CircuitClosed", "A job worked: all jobs run again.")
            };
            self.announce(notice);
        }
    }
}
