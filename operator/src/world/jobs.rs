//! Jobs: which are known, which wait in which queue, which worker each holds.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use trellis_crds::{FailureReason, Phase, queued_since};

use super::timers::Subject;
use super::writes::Write;
use super::{Batch, World};
use crate::action::Notice;
use crate::key::{Key, Uid};
use crate::plan::{self, Decision, Fate, Held, Seat, Situation, Waiting};
use crate::validate::{Job, Life};

/// A job and where it stands.
#[derive(Debug)]
pub(super) struct JobEntry {
    pub(super) job: Job,
    /// The pool that it belongs to and its place in that pool's queue, while it may be assigned.
    queued: Option<Box<(Key, Place)>>,
    /// Since when it waits, as far as this process knows.
    pub(super) waiting_since: Timestamp,
    /// The worker that runs it, or that it is being assigned to.
    pub(super) holds: Option<Uid>,
    held: Held,
    /// When it was seen to end.
    ended: Option<Timestamp>,
    /// The write about it whose outcome is not known yet. While there is one, nothing else is decided.
    pub(super) write: Option<Box<Write>>,
    /// How many writes failed in a row.
    pub(super) failures: u32,
}

/// A job's place in its queue, in the order of [`queued_since`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    since: Timestamp,
    created: Timestamp,
    name: String,
    pub(super) uid: Uid,
}

impl Place {
    fn of(job: &Job) -> Self {
        Self {
            since: queued_since(job.identity.created, job.spec().priority),
            created: job.identity.created,
            name: job.identity.key.name.clone(),
            uid: job.identity.uid.clone(),
        }
    }
}

impl JobEntry {
    fn new(job: Job, now: Timestamp) -> Self {
        let held = Held { since: now, from_the_start: false };
        Self {
            job,
            queued: None,
            waiting_since: now,
            holds: None,
            held,
            ended: None,
            write: None,
            failures: 0,
        }
    }

    /// Whether it has not ended and no worker has it.
    pub(super) fn waits(&self) -> bool {
        self.holds.is_none() && !self.job.object.is_finished()
    }
}

impl World {
    /// Takes in a job's state, unless a newer one is known.
    pub(super) fn observe_job(&mut self, job: Job, now: Timestamp) {
        let uid = job.identity.uid.clone();
        let known = self.jobs.get(&uid);
        if self.relists.is_gone(&uid)
            || known.is_some_and(|known| known.job.identity.version >= job.identity.version)
        {
            return;
        }
        let known = known.map(|known| known.job.clone());
        let ends =
            known.as_ref().is_some_and(|known| !known.object.is_finished()) && job.object.is_finished();
        if ends && job.object.phase() == Phase::Completed {
            self.completed(&job);
        }
        if known.as_ref().is_none_or(|known| !known.object.is_finished()) {
            self.note_run(&job);
        }
        self.count_attempt(known.as_ref(), &job);
        self.dirty_jobs.extend(self.history.note(&job));
        if let Some(known) = known.as_ref().filter(|_| self.leading) {
            self.try_circuit(known, &job, now);
        }
        let held = holder(&job);
        let entry = self.jobs.entry(uid.clone()).or_insert_with(|| JobEntry::new(job.clone(), now));
        let generation = |job: &Job| job.object.metadata.generation;
        let changed = |known: &Job| {
            generation(known) != generation(&job) || known.object.is_finished() != job.object.is_finished()
        };
        if known.as_ref().is_some_and(changed) {
            // A change that lets it go on, or go elsewhere, deserves the moment that a new job gets.
            entry.waiting_since = now;
        }
        entry.job = job.condensed();
        entry.ended = ends.then_some(now).or(entry.ended.filter(|_| entry.job.object.is_finished()));
        if entry.write.as_ref().is_some_and(|write| !write.under_way) {
            // The API server refuses whatever copy of the write is still on its way to it.
            entry.write = None;
        }
        // While an assignment may be carried out its worker stays taken.
        let held = held.or_else(|| entry.holds.clone().filter(|_| entry.write.is_some()));
        self.hold(&uid, held.clone(), known.is_some(), now);
        let load = held.as_ref().and_then(|worker| self.loads.get(worker));
        // Where the worker has several, one of the others may be the one to go.
        self.dirty_jobs.extend(
            load.filter(|load| load.jobs.len() > 1).iter().flat_map(|load| load.jobs.iter().cloned()),
        );
        self.dirty_jobs.insert(uid);
    }

    /// Remembers how long the job took, where it completed: by its worker's clock alone.
    fn note_run(&mut self, job: &Job) {
        let status = job.status().filter(|status| status.phase == Some(Phase::Completed));
        let times = status.and_then(|status| status.start_time.as_ref().zip(status.completion_time.as_ref()));
        if let (Some((start, end)), Some(pool)) = (times, job.assigned_pool()) {
            let took = end.0.duration_since(start.0);
            self.index(&pool).runs.note(took);
        }
    }

    /// The job was seen to complete just now.
    fn completed(&mut self, job: &Job) {
        let Some(status) = job.status().filter(|_| self.leading) else { return };
        if let Some(attempt) = status.attempts.last() {
            self.metrics.count_attempt(attempt);
        }
        if let Some(pool) = job.assigned_pool() {
            self.metrics.time_run(&pool, status);
        }
        let note = format!("The asset is there: {} files, see status.outputs.", status.outputs.len());
        self.announce(Notice::job(job, EventType::Normal, "Completed", note));
    }

    pub(super) fn remove_job(&mut self, uid: &Uid, now: Timestamp) {
        self.relists.gone(uid);
        self.history.forget(uid);
        self.hold(uid, None, true, now);
        self.dequeue(uid);
        self.timers.set(Subject::Job(uid.clone()), None);
        self.dirty_jobs.remove(uid);
        self.jobs.remove(uid);
    }

    /// Counts the job against the worker that it was assigned to, once.
    fn count_attempt(&mut self, known: Option<&Job>, job: &Job) {
        let attempt = |job: &Job| job.object.assignment().map(|at| (at.pod_uid.clone(), at.attempt));
        let Some(new) = attempt(job).filter(|new| known.and_then(attempt).as_ref() != Some(new)) else {
            return;
        };
        self.loads.entry(new.0.as_str().into()).or_default().taken += 1;
    }

    /// Makes the job hold this worker and no other, `from_the_start` where it did not before.
    pub(super) fn hold(&mut self, uid: &Uid, worker: Option<Uid>, from_the_start: bool, now: Timestamp) {
        let Some(entry) = self.jobs.get_mut(uid).filter(|entry| entry.holds != worker) else { return };
        let old = std::mem::replace(&mut entry.holds, worker.clone());
        entry.held = Held { since: now, from_the_start };
        if let Some(worker) = &worker {
            self.loads.entry(worker.clone()).or_default().jobs.insert(uid.clone());
        } else {
            entry.waiting_since = now;
        }
        if let Some(load) = old.as_ref().and_then(|old| self.loads.get_mut(old)) {
            load.jobs.remove(uid);
        }
        old.iter().chain(&worker).for_each(|worker| self.refresh_worker(worker, now));
        old.iter().for_each(|worker| self.forget_load(worker));
    }

    /// Decides about one job.
    pub(super) fn plan_job(&mut self, uid: &Uid, now: Timestamp, batch: &mut Batch) {
        let Some(entry) = self.jobs.get(uid) else { return };
        if entry.write.is_some() {
            return self.write_again(uid, now, batch);
        }
        let job = entry.job.clone();
        let pool = entry.waits().then(|| plan::choose(&job, &self.pools, &self.settings.operator_namespace));
        let pool = pool.map(|chosen| chosen.map(|pool| pool.identity.key.clone()));
        let situation = Situation {
            waiting: match &pool {
                Some(Ok(pool)) => Ok(self.why_jobs_wait(pool)),
                Some(Err(no_pool)) => Err(no_pool.clone()),
                None => Ok(Waiting { reason: "", message: String::new() }),
            },
            done_in: pool.as_ref().and_then(|pool| self.done_in(pool.as_ref().ok()?)),
            worker: self.fate(entry),
            worker_taken: self.is_behind_another(entry),
            held: entry.held,
            waiting_since: entry.waiting_since,
            ended: entry.ended,
            is_surplus: self.history.is_surplus(uid),
        };
        let decision = plan::job(&job, &situation, now);
        let pool = pool.and_then(Result::ok);
        self.place(&job, pool, decision, now, batch);
    }

    /// Puts the job where the decision has it, and asks for what the decision writes.
    fn place(&mut self, job: &Job, pool: Option<Key>, decision: Decision, now: Timestamp, batch: &mut Batch) {
        let uid = &job.identity.uid;
        match &decision {
            Decision::Queue { .. } | Decision::Explain { .. } => self.enqueue(job, pool),
            _ => self.dequeue(uid),
        }
        let until = match &decision {
            Decision::Idle { until } | Decision::Queue { until } => *until,
            _ => None,
        };
        self.timers.set(Subject::Job(uid.clone()), until);
        match &decision {
            Decision::Settled | Decision::Idle { .. } | Decision::Queue { .. } => return,
            // It can wait, and what others wait for cannot.
            Decision::Explain { .. } if batch.is_busy() => {
                let since = self.jobs.get(uid).map_or(now, |entry| entry.waiting_since);
                self.unexplained.insert((since, uid.clone()));
                return;
            }
            _ => {}
        }
        if decision.ended_attempt().is_some_and(|attempt| attempt.reason == Some(FailureReason::NoSignOfLife))
        {
            self.condemn_worker_of(uid, now);
        }
        self.write(job, decision, now, batch);
    }

    /// Gives a queued job to an idle worker. Both are taken from now on, before the write is under way.
    pub(super) fn assign(&mut self, uid: &Uid, mut seat: Seat, now: Timestamp, batch: &mut Batch) {
        let Some(entry) = self.jobs.get(uid) else { return };
        let job = entry.job.clone();
        self.metrics.queue_seconds.observe(now.duration_since(entry.waiting_since).as_secs_f64());
        self.dequeue(uid);
        self.hold(uid, Some(seat.uid.clone()), true, now);
        self.timers.set(Subject::Job(uid.clone()), None);
        seat.done_in = self.index(&seat.pool).runs.median();
        self.write(&job, Decision::Assign(seat), now, batch);
    }

    /// How long a job that comes to the end of the queue takes until it is done, as a rule. How long workers take to start is not known.
    fn done_in(&self, pool: &Key) -> Option<SignedDuration> {
        let index = self.indexes.get(pool)?;
        let run = index.runs.median()?;
        let places = index.ready_workers() * self.pools.get(pool)?.batch_size();
        let ahead = index.queue.len().checked_div(places)?;
        Some(run.saturating_mul(i32::try_from(ahead).ok()?.saturating_add(1)))
    }

    fn fate(&self, entry: &JobEntry) -> Fate {
        let Some(worker) = entry.holds.as_ref().and_then(|worker| self.workers.get(worker)) else {
            return Fate::Lost("the worker's pod is gone".into());
        };
        let taken_away = |message: String| match worker.hands_back_until() {
            Some(until) => Fate::Leaves { until, message },
            None => Fate::Lost(message),
        };
        match &worker.worker.life {
            Life::Terminating { .. } => taken_away("the worker's pod is being deleted".into()),
            Life::Disrupted { message, .. } => {
                taken_away(format!("the worker's pod was taken away: {message}"))
            }
            Life::Ended(crash) if crash.is_in_order() => Fate::Left(crash.message.clone()),
            Life::Ended(crash) => Fate::Crashed(crash.clone()),
            Life::Gated | Life::Starting { .. } | Life::Ready => Fate::Alive,
        }
    }

    /// Whether the job's worker has another one that it works on, or that it was given earlier. Two leaders that overlapped may have given
    /// it both, and it runs them one after the other.
    fn is_behind_another(&self, entry: &JobEntry) -> bool {
        let load = entry.holds.as_ref().and_then(|worker| self.loads.get(worker));
        let Some(load) = load.filter(|load| load.jobs.len() > 1) else { return false };
        let turn = turn(&entry.job);
        let others = load.jobs.iter().filter_map(|uid| self.jobs.get(uid)).map(|other| &other.job);
        let live = others
            .filter(|other| holder(other) == entry.holds && other.object.current_attempt_ended().is_none());
        let others = live.filter(|other| !other.is_together_with(&entry.job));
        others.map(self::turn).any(|other| other < turn)
    }

    fn enqueue(&mut self, job: &Job, pool: Option<Key>) {
        let uid = &job.identity.uid;
        let new = pool.map(|pool| Box::new((pool, Place::of(job))));
        if self.jobs.get(uid).is_some_and(|entry| entry.queued != new) {
            self.dequeue(uid);
        }
        let Some(new) = new else { return };
        let (pool, place) = &*new;
        self.index(pool).enqueue(place.clone(), job.identity.created);
        // Also where the job has its place already: a write that kept it from a worker may have ended just now.
        self.dirty_pools.insert(pool.clone());
        if let Some(entry) = self.jobs.get_mut(uid) {
            entry.queued = Some(new);
        }
    }

    fn dequeue(&mut self, uid: &Uid) {
        let Some(entry) = self.jobs.get_mut(uid) else { return };
        let created = entry.job.identity.created;
        let Some(queued) = entry.queued.take() else { return };
        let (pool, place) = *queued;
        self.index(&pool).dequeue(&place, created);
        self.dirty_pools.insert(pool);
    }
}

/// The worker that runs the job. Workers let go of a job that is being deleted, though a finalizer may keep it for long.
pub(super) fn holder(job: &Job) -> Option<Uid> {
    let status = job.status().filter(|status| status.phase == Some(Phase::Processing))?;
    if job.is_being_deleted() {
        return None;
    }
    status.assignment.as_ref().map(|assignment| assignment.pod_uid.as_str().into())
}

/// Which of several jobs on one worker goes first: the one that it has begun, then the one that it was given first.
fn turn(job: &Job) -> (bool, Option<Timestamp>, &Uid) {
    let begun = job.status().is_some_and(|status| status.progress.is_some());
    (!begun, job.object.assignment().map(|assignment| assignment.time.0), &job.identity.uid)
}
