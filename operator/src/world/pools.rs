//! Pools: their queues, their workers by standing, their status.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use trellis_crds::WorkerPoolStatus;
use trellis_crds::conditions::{READY, RECONCILING, STALLED, get, reason};

use super::jobs::JobEntry;
use super::pool_index::{CONDITION_MESSAGE, PoolIndex, Report};
use super::timers::Subject;
use super::workers::Deletion;
use super::{Batch, World};
use crate::action::{Action, Notice};
use crate::apply::ApplyError;
use crate::key::{Key, Uid};
use crate::plan::{self, Circuit, Scale, Trial, Waiting};
use crate::status::{self, PoolFacts};
use crate::text::clip;
use crate::time::{after, seconds_after};
use crate::validate::{Job, Life, Pool, Worker};

/// How long counts in a pool's status may lag behind: warm jobs come and go faster, and cost the pool no write.
const COUNTS_LAG: SignedDuration = SignedDuration::from_secs(10);
/// How long another reason for waiting must hold before a queue is told.
const TELL_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// Kubernetes' reason for a pod that no node takes.
const UNSCHEDULABLE: &str = "Unschedulable";
/// What helps where that pod is to take the place of another.
const NO_ROOM_BESIDE: &str = ". Where no more devices are to be had, set spec.replicas.surge to 0: a worker then ends before the next one starts.";
/// How many jobs from the head of a queue a probe is chosen of.
const PROBES: usize = 16;

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

    /// Why jobs of the pool wait, as they are told.
    pub(super) fn why_jobs_wait(&self, key: &Key) -> Waiting {
        let told = self.indexes.get(key).and_then(|index| index.told.clone());
        told.unwrap_or_else(|| self.why_jobs_wait_now(key))
    }

    fn why_jobs_wait_now(&self, key: &Key) -> Waiting {
        let index = self.indexes.get(key);
        if index.is_some_and(|index| index.circuit.is_open()) {
            let message = format!(
                "The workers of WorkerPool {key} failed at one job after another: one job at a time is tried until one works."
            );
            return Waiting { reason: reason::CIRCUIT_OPEN, message };
        }
        let ready = index.is_some_and(PoolIndex::has_ready_worker);
        match self.trouble(key).filter(|_| !ready) {
            Some(trouble) => trouble,
            None if ready => {
                let message = format!("All workers of WorkerPool {key} are busy.");
                Waiting { reason: reason::NO_IDLE_WORKER, message }
            }
            None if index.is_some_and(|index| !index.gated.is_empty()) => {
                let message =
                    format!("The workers of WorkerPool {key} wait for quota: they are not admitted yet.");
                Waiting { reason: reason::WAITING_FOR_QUOTA, message }
            }
            None => {
                let message = format!("A worker of WorkerPool {key} is starting.");
                Waiting { reason: reason::POOL_STARTING, message }
            }
        }
    }

    /// What keeps the pool's workers from starting.
    fn trouble(&self, key: &Key) -> Option<Waiting> {
        let pool = self.pools.get(key)?;
        if let Err(error) = &pool.pod {
            let message = format!("WorkerPool {key}: {error}.");
            return Some(Waiting { reason: reason::PODS_REFUSED, message });
        }
        let index = self.indexes.get(key)?;
        let Some(trouble) = index.troubles.values().next() else {
            // An old failure is none of a pool that has the workers it needs.
            return index.last_failure.clone().filter(|_| {
                index.ready_workers() < index.census().wanted(pool) || !index.outdated.is_empty()
            });
        };
        let no_room = !index.outdated.is_empty() && trouble.reason == UNSCHEDULABLE;
        let hint = if no_room { NO_ROOM_BESIDE } else { "" };
        let message = format!(
            "A worker of WorkerPool {key} cannot start: {}: {}{hint}",
            trouble.reason, trouble.message
        );
        Some(Waiting { reason: reason::PODS_NOT_STARTING, message: clip(&message, CONDITION_MESSAGE) })
    }

    /// Has every job of the queue looked at when the reason for waiting is another one and stays it for a while: one that comes and goes
    /// would cost a write for each job of the queue every time. Says when to look again.
    fn tell_queue(&mut self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        let why = self.why_jobs_wait_now(key);
        let index = self.index(key);
        let same = index.told.as_ref().is_none_or(|told| told.reason == why.reason);
        if !same && !index.queue.is_empty() {
            let news = index.news.filter(|(reason, _)| *reason == why.reason);
            let (_, since) = *index.news.insert(news.unwrap_or((why.reason, now)));
            let tell_at = after(since, TELL_AFTER);
            if now < tell_at {
                return Some(tell_at);
            }
        }
        index.news = None;
        let told = index.told.replace(why);
        let (Some(before), Some(now)) = (&told, &index.told) else { return None };
        if !plan::says_the_same(before.reason, now.reason) {
            let queue: Vec<Uid> = index.queue.iter().map(|place| place.uid.clone()).collect();
            self.dirty_jobs.extend(queue);
        }
        None
    }

    /// Gives jobs to workers, the first in the queue to the one idle for the shortest time: so that others get old enough to go.
    fn pair(&mut self, key: &Key, going: &[Uid], now: Timestamp, batch: &mut Batch) {
        while !batch.is_full() {
            let Some(index) = self.indexes.get(key).filter(|index| index.circuit.room(index.busy, now) > 0)
            else {
                return;
            };
            let job = self.next_job(index);
            let mut idle = index.idle.iter().rev().filter(|(_, worker)| !going.contains(worker));
            let seat = idle.next().and_then(|(_, worker)| self.seat(worker, key));
            let (Some(job), Some(seat)) = (job, seat) else { return };
            self.assign(&job, seat, now, batch);
        }
    }

    /// The jobs of the queue about which nothing is being written, in their order.
    fn free_jobs<'a>(&'a self, index: &'a PoolIndex) -> impl Iterator<Item = &'a JobEntry> {
        let entries = index.queue.iter().filter_map(|place| self.jobs.get(&place.uid));
        entries.filter(|entry| entry.write.is_none())
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
        for trial in trials {
            let index = self.index(&key);
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

    /// Gives up on workers that did not get ready in time, and says when the next one's time will be over.
    fn replace_late_starts(&mut self, pool: &Pool, now: Timestamp) -> Option<Timestamp> {
        let seconds = pool.spec().start_seconds;
        loop {
            let index = self.index(&pool.identity.key);
            let (uid, since) = index.longest_start()?;
            let (uid, end) = (uid.clone(), seconds_after(since, seconds));
            if now < end {
                return Some(end);
            }
            let trouble = index.troubles.get(&uid).cloned();
            index.set_start(&uid, None);
            let Some(entry) = self.workers.get_mut(&uid) else { continue };
            entry.condemned = true;
            let (name, was_ready) = (entry.worker.identity.key.name.clone(), entry.was_ready);
            let why = trouble.map(|trouble| format!(" ({}: {})", trouble.reason, trouble.message));
            let message = format!(
                "Worker {name} was not ready within spec.startSeconds, {seconds} s{}; another takes its place.",
                why.unwrap_or_default()
            );
            if !was_ready {
                self.index(&pool.identity.key).start_failed(reason::PODS_NOT_STARTING, &message, now);
            }
            self.announce(Notice::pool(pool, EventType::Warning, "WorkerFailed", message));
            self.refresh_worker(&uid, now);
        }
    }

    fn decide_scale(&mut self, pool: &Pool, now: Timestamp) -> Scale {
        let index = self.index(&pool.identity.key);
        let mut census = index.census();
        census.draining = census.draining.saturating_sub(index.overdue(now));
        let mut scale = plan::scale(pool, &census, now);
        scale.delete.retain(|worker| index.may_delete(worker, now));
        scale
    }

    fn scale(&mut self, pool: &Pool, scale: Scale, now: Timestamp, batch: &mut Batch) -> Option<Timestamp> {
        let key = &pool.identity.key;
        let index = self.index(key);
        let room = if pool.pod.is_ok() { scale.create } else { 0 };
        let before = index.creating;
        while index.creating < before + room && !batch.is_full() {
            index.creating += 1;
            let name = index.next_name(pool);
            batch.push(Action::CreateWorker { pool: pool.clone(), name });
        }
        let created = index.creating - before;
        if created > 0 {
            let note = format!("{created} more workers are starting.");
            self.announce(Notice::pool(pool, EventType::Normal, "ScaledUp", note));
        }
        let mut deleted = 0;
        for worker in scale.delete {
            if batch.is_full() {
                break;
            }
            deleted += 1;
            self.delete_worker(&worker, now, batch);
        }
        if deleted > 0 {
            let note = format!("{deleted} workers that are not needed any more are deleted.");
            self.announce(Notice::pool(pool, EventType::Normal, "ScaledDown", note));
        }
        scale.until.into_iter().chain(self.index(key).next_due(now)).min()
    }

    /// Deletes the pods of workers that ended or are to be replaced.
    fn remove_workers(&mut self, key: &Key, now: Timestamp, batch: &mut Batch) {
        while !batch.is_full() {
            let index = self.index(key);
            let mut removable = index.removable.iter();
            let Some(worker) = removable.find(|worker| index.may_delete(worker, now)).cloned() else {
                return;
            };
            self.delete_worker(&worker, now, batch);
        }
    }

    fn delete_worker(&mut self, uid: &Uid, now: Timestamp, batch: &mut Batch) {
        if let Some(entry) = self.workers.get_mut(uid) {
            entry.deletion = Deletion::Asked;
            let worker = entry.worker.clone();
            self.index(&worker.pool).delete_again.remove(uid);
            batch.push(Action::DeleteWorker { worker });
        }
        self.refresh_worker(uid, now);
    }

    pub(super) fn creation_ended(
        &mut self,
        key: &Key,
        name: String,
        result: Result<Worker, ApplyError>,
        now: Timestamp,
    ) -> Option<Worker> {
        let uid = result.as_ref().ok().map(|worker| &worker.identity.uid);
        let gone = self.index(key).created(uid);
        self.dirty_pools.insert(key.clone());
        match result {
            Ok(worker) => (!gone).then_some(worker),
            // Another pod has the name: the next one gets another.
            Err(ApplyError::Conflict) => None,
            Err(error) => {
                let message = format!("A worker of WorkerPool {key} could not be created: {error}");
                if let ApplyError::Unknown(_) = error {
                    self.index(key).creation_unanswered(name);
                }
                self.index(key).start_failed(reason::PODS_REFUSED, &message, now);
                None
            }
        }
    }

    /// Records how a worker ended, where it did.
    pub(super) fn note_end(&mut self, worker: &Worker, was_ready: bool, now: Timestamp) {
        let name = &worker.identity.key.name;
        let message = match &worker.life {
            Life::Ended(crash) => &crash.message,
            // Such as pods that a node takes and then refuses, one after another.
            Life::Disrupted { message, over: true } => message,
            _ => return,
        };
        if !was_ready {
            let no_model = matches!(&worker.life, Life::Ended(crash) if crash.is_for_want_of_the_model());
            let reason = if no_model { reason::MODEL_NOT_LOADED } else { reason::PODS_NOT_STARTING };
            let message = format!("Worker {name} ended before it was ready: {message}.");
            self.index(&worker.pool).start_failed(reason, &message, now);
        }
        let failed = matches!(&worker.life, Life::Ended(crash) if !crash.is_done());
        if let Some(pool) = self.pools.get(&worker.pool).filter(|_| failed) {
            let note = format!("Worker {name}: {message}.");
            let notice = Notice::pool(pool, EventType::Warning, "WorkerFailed", note);
            self.announce(notice);
        }
    }

    /// Asks for a status write where one is due, and says when one will be.
    fn report(&mut self, pool: &Pool, now: Timestamp, batch: &mut Batch) -> Option<Timestamp> {
        let key = &pool.identity.key;
        let trouble = self.trouble(key);
        let index = self.index(key);
        let facts = PoolFacts {
            starting: index.starting,
            idle: index.idle.len(),
            busy: index.busy,
            draining: index.draining,
            queued: index.queue.len(),
            wanted: index.census().wanted(pool),
            outdated: index.outdated.len(),
            gated: index.gated.len(),
            circuit: index.circuit.to_store(),
            held_back: index.is_held_back(now),
            trouble,
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
