//! Workers: which are there, in which state, with which jobs.

use std::collections::BTreeSet;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::World;
use crate::apply::ApplyError;
use crate::key::{Key, Uid};
use crate::plan::Seat;
use crate::time::after;
use crate::validate::{Life, Pool, Worker};

/// How long a worker is left alone that could not be deleted.
const DELETE_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// A worker and where it stands.
#[derive(Debug)]
pub(super) struct WorkerEntry {
    pub(super) worker: Worker,
    standing: Standing,
    /// Since when it has had nothing to do. A deletion that fails does not make it younger.
    idle_since: Option<Timestamp>,
    /// It was ready at some time, so its end is no failure to start.
    pub(super) was_ready: bool,
    /// When this process saw it for the first time, not being ready.
    made: Option<Timestamp>,
    /// While it starts: whether it has a node, and since when this process has seen it so. Other clocks than its own may be wrong.
    start: Option<(bool, Timestamp)>,
    /// Since when this process has seen it being told to end while it can hand back its job.
    leaves_since: Option<Timestamp>,
    /// It showed no sign of life, or did not get ready in time, and is to be replaced.
    pub(super) condemned: bool,
    pub(super) deletion: Deletion,
}

/// How far a worker's deletion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletion {
    /// Nobody asked for it.
    None,
    /// It is under way or done.
    Asked,
    /// It had no answer, and may happen yet: the worker gets no job, and is to be deleted again.
    Unanswered,
}

/// What a worker has had to do.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Jobs that it has now: one, or one batch. More only where two leaders overlapped; what is not of the first batch is taken back.
    pub(super) jobs: BTreeSet<Uid>,
    /// How many attempts it was ever assigned, as far as the jobs that still exist tell.
    pub(super) taken: u32,
}

/// What a worker counts for in its pool.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    standing: Standing,
    /// Its pod is to be deleted.
    removable: bool,
    /// It can run jobs, and was built from an older template.
    outdated: bool,
}

/// Where a worker stands in its pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its end was seen, or nothing yet: it counts for nothing.
    #[default]
    Absent,
    Starting,
    Idle {
        since: Timestamp,
    },
    Busy,
    /// It ends, and gets no job any more.
    Draining,
}

impl World {
    /// Takes in a worker's state, unless a newer one is known.
    pub(super) fn observe_worker(&mut self, worker: Worker, now: Timestamp) {
        let uid = worker.identity.uid.clone();
        let known = self.workers.get(&uid);
        if self.relists.is_gone(&uid)
            || known.is_some_and(|known| known.worker.identity.version >= worker.identity.version)
        {
            return;
        }
        let ended_before = known.is_some_and(|known| known.worker.life.is_over());
        let ready_before = known.is_some_and(|known| known.was_ready);
        if known.is_some_and(|known| known.worker.pool != worker.pool) {
            // Somebody gave it to another pool.
            self.leave_pool(&uid);
        }
        let was_ready = ready_before || worker.life == Life::Ready;
        let entry = self.workers.entry(uid.clone()).or_insert_with(|| WorkerEntry {
            worker: worker.clone(),
            standing: Standing::Absent,
            idle_since: None,
            was_ready,
            made: (!was_ready).then_some(now),
            start: None,
            leaves_since: None,
            condemned: false,
            deletion: Deletion::None,
        });
        entry.worker = worker.clone();
        entry.was_ready = was_ready;
        entry.leaves_since = worker.farewell.and(entry.leaves_since.or(Some(now)));
        let made = entry.made;
        entry.start = match worker.life {
            Life::Starting { placed, .. } => {
                entry.start.filter(|(before, _)| *before == placed).or(Some((placed, now)))
            }
            _ => None,
        };
        self.index(&worker.pool).seen(&worker.identity.key.name);
        // Only the first time: one that is well says nothing of others that crash at their start.
        if was_ready && !ready_before {
            let took = made.map(|made| now.duration_since(made));
            let index = self.index(&worker.pool);
            index.started();
            took.into_iter().for_each(|took| index.start_times.note(took));
        }
        if !ended_before {
            self.note_end(&worker, was_ready, now);
        }
        self.refresh_worker(&uid, now);
        self.wake_jobs_of(&uid);
    }

    pub(super) fn remove_worker(&mut self, uid: &Uid) {
        self.relists.gone(uid);
        self.leave_pool(uid);
        if self.workers.remove(uid).is_none() {
            return;
        }
        self.wake_jobs_of(uid);
        self.forget_load(uid);
    }

    /// Nothing of the worker's pool tells of it any more.
    fn leave_pool(&mut self, uid: &Uid) {
        self.stand(uid, Account::default());
        let Some(pool) = self.workers.get(uid).map(|entry| entry.worker.pool.clone()) else { return };
        self.index(&pool).removed(uid);
        self.dirty_pools.insert(pool);
    }

    /// Forgets what a worker that is gone had to do, once it has no job any more.
    pub(super) fn forget_load(&mut self, uid: &Uid) {
        let unused = self.loads.get(uid).is_some_and(|load| load.jobs.is_empty());
        if unused && !self.workers.contains_key(uid) {
            self.loads.remove(uid);
        }
    }

    fn wake_jobs_of(&mut self, uid: &Uid) {
        if let Some(load) = self.loads.get(uid) {
            self.dirty_jobs.extend(load.jobs.iter().cloned());
        }
    }

    /// Computes anew where the worker stands.
    pub(super) fn refresh_worker(&mut self, uid: &Uid, now: Timestamp) {
        let Some(entry) = self.workers.get(uid) else { return };
        let pool = self.pools.get(&entry.worker.pool);
        let (standing, removable) = entry.assess(self.loads.get(uid), pool, now);
        let works = matches!(standing, Standing::Idle { .. } | Standing::Busy);
        let outdated = works && entry.is_outdated(pool);
        self.stand(uid, Account { standing, removable, outdated });
    }

    fn stand(&mut self, uid: &Uid, account: Account) {
        let Account { standing, removable, outdated } = account;
        let Some(entry) = self.workers.get_mut(uid) else { return };
        let old = std::mem::replace(&mut entry.standing, standing);
        match standing {
            Standing::Idle { since } => entry.idle_since = Some(since),
            Standing::Starting | Standing::Busy => entry.idle_since = None,
            Standing::Draining | Standing::Absent => {}
        }
        let trouble = match &entry.worker.life {
            Life::Starting { trouble, .. } if standing == Standing::Starting => trouble.clone(),
            _ => None,
        };
        let start = entry.start.filter(|_| standing == Standing::Starting).map(|(_, since)| since);
        let gated = standing == Standing::Starting && entry.worker.life == Life::Gated;
        let due = match entry.worker.life {
            Life::Terminating { due } if standing == Standing::Draining => Some(due),
            _ => None,
        };
        let pool = entry.worker.pool.clone();
        let index = self.index(&pool);
        index.restand(uid, old, standing);
        index.set_due(uid, due);
        index.set_start(uid, start);
        let mut changed = old != standing;
        changed |= index.set_trouble(uid, trouble);
        let sets =
            [(removable, &mut index.removable), (gated, &mut index.gated), (outdated, &mut index.outdated)];
        for (holds, set) in sets {
            changed |= if holds { set.insert(uid.clone()) } else { set.remove(uid) };
        }
        if changed {
            self.dirty_pools.insert(pool);
        }
    }

    /// The worker that the job is on gets no job any more.
    pub(super) fn condemn_worker_of(&mut self, job: &Uid, now: Timestamp) {
        let Some(worker) = self.jobs.get(job).and_then(|entry| entry.holds.clone()) else { return };
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.condemned = true;
        }
        self.refresh_worker(&worker, now);
    }

    pub(super) fn deletion_ended(&mut self, uid: &Uid, result: Result<(), ApplyError>, now: Timestamp) {
        match result {
            // The watch will show the rest.
            Ok(()) => {}
            Err(ApplyError::Gone) => self.remove_worker(uid),
            Err(ApplyError::Unknown(_)) => self.deletion_failed(uid, Deletion::Unanswered, now),
            Err(_) => self.deletion_failed(uid, Deletion::None, now),
        }
    }

    fn deletion_failed(&mut self, uid: &Uid, deletion: Deletion, now: Timestamp) {
        let Some(entry) = self.workers.get_mut(uid) else { return };
        entry.deletion = deletion;
        let pool = entry.worker.pool.clone();
        self.index(&pool).delete_again.insert(uid.clone(), after(now, DELETE_AGAIN));
        self.dirty_pools.insert(pool);
        self.refresh_worker(uid, now);
    }

    /// Nobody will say what came of a deletion that is under way.
    pub(super) fn doubt_deletion(&mut self, uid: &Uid, now: Timestamp) {
        if let Some(entry) = self.workers.get_mut(uid).filter(|entry| entry.deletion == Deletion::Asked) {
            entry.deletion = Deletion::Unanswered;
        }
        self.refresh_worker(uid, now);
    }

    /// The worker as a seat for a job.
    pub(super) fn seat(&self, uid: &Uid, pool: &Key, now: Timestamp) -> Option<Seat> {
        let worker = &self.workers.get(uid)?.worker;
        Some(Seat {
            pool: pool.clone(),
            worker: worker.identity.key.name.clone(),
            uid: uid.clone(),
            time: now,
            batch: 1,
            done_in: None,
        })
    }
}

impl WorkerEntry {
    /// Until when the worker may hand back its job, where it is being taken away and can. By this process's own watch, for the clock that
    /// the pod's deletion is stamped by may have been set.
    pub(super) fn hands_back_until(&self) -> Option<Timestamp> {
        Some(after(self.leaves_since?, self.worker.farewell?))
    }

    /// How many jobs it may still be given before another takes its place.
    pub(super) fn jobs_left(&self, load: Option<&Load>, pool: &Pool) -> usize {
        let taken = load.map_or(0, |load| load.taken);
        let left = pool.jobs_per_worker().map_or(u32::MAX, |limit| limit.saturating_sub(taken));
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Where the worker stands, and whether its pod is to be deleted.
    fn assess(&self, load: Option<&Load>, pool: Option<&Pool>, now: Timestamp) -> (Standing, bool) {
        let held = load.is_some_and(|load| !load.jobs.is_empty());
        match &self.worker.life {
            Life::Terminating { .. } => return (Standing::Draining, false),
            Life::Disrupted { over: true, .. } | Life::Ended(_) => {
                return (Standing::Absent, !held && self.deletion != Deletion::Asked);
            }
            Life::Disrupted { over: false, .. } => return (Standing::Draining, false),
            Life::Gated | Life::Starting { .. } | Life::Ready => {}
        }
        if self.deletion != Deletion::None {
            (Standing::Draining, self.deletion == Deletion::Unanswered)
        } else if held {
            (Standing::Busy, false)
        } else if self.is_to_be_replaced(load, pool) {
            (Standing::Draining, true)
        } else if self.worker.life == Life::Ready {
            (Standing::Idle { since: self.idle_since.unwrap_or(now) }, false)
        } else {
            (Standing::Starting, false)
        }
    }

    fn is_to_be_replaced(&self, load: Option<&Load>, pool: Option<&Pool>) -> bool {
        let Some(pool) = pool else { return self.condemned };
        let taken = load.map_or(0, |load| load.taken);
        let exhausted = pool.jobs_per_worker().is_some_and(|limit| taken >= limit);
        let unfinished = !self.was_ready && self.is_outdated(Some(pool));
        let runs_another_model = self.worker.model.as_ref().is_some_and(|model| *model != pool.spec().model);
        let anothers = self.worker.pool_uid != pool.identity.uid;
        self.condemned || exhausted || unfinished || runs_another_model || anothers
    }

    /// Whether the pool's template has changed since the worker was made.
    fn is_outdated(&self, pool: Option<&Pool>) -> bool {
        pool.is_some_and(|pool| pool.pod.is_ok() && self.worker.hash.as_ref() != Some(&pool.hash))
    }
}
