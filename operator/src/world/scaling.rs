//! Makes workers, and takes away those that are not needed, do not start or ended.

use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;
use trellis_crds::conditions::reason;

use super::workers::Deletion;
use super::{Batch, World};
use crate::action::{Action, Notice};
use crate::apply::ApplyError;
use crate::key::{Key, Uid};
use crate::plan::{self, Scale};
use crate::time::seconds_after;
use crate::validate::{Life, Pool, Worker};

impl World {
    /// Gives up on workers that did not get ready in time, and says when the next one's time will be over.
    pub(super) fn replace_late_starts(&mut self, pool: &Pool, now: Timestamp) -> Option<Timestamp> {
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

    pub(super) fn decide_scale(&mut self, pool: &Pool, now: Timestamp) -> Scale {
        let index = self.index(&pool.identity.key);
        let mut census = index.census();
        census.draining = census.draining.saturating_sub(index.overdue(now));
        let mut scale = plan::scale(pool, &census, now);
        scale.delete.retain(|worker| index.may_delete(worker, now));
        scale
    }

    pub(super) fn scale(
        &mut self,
        pool: &Pool,
        scale: Scale,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Option<Timestamp> {
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
    pub(super) fn remove_workers(&mut self, key: &Key, now: Timestamp, batch: &mut Batch) {
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
}
