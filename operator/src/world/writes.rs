//! Writes about jobs: a worker or a job is released only once it is known what became of the write that took it.
//!
//! A request without an answer may have been carried out, or may be yet. It names the state that it was decided from, so the API server
//! carries it out at most once. The same write is therefore repeated until an answer shows the outcome: it is stored, or refused because
//! the job is in another state, and then no earlier copy can be carried out either.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::jobs::holder;
use super::timers::Subject;
use super::{Batch, World};
use crate::action::{Action, Stored};
use crate::apply::ApplyError;
use crate::key::Uid;
use crate::plan::{Decision, doubled};
use crate::time::after;
use crate::validate::Job;

/// The delay before a write is repeated, doubled with every failure.
const AGAIN: SignedDuration = SignedDuration::from_millis(250);
/// The longest delay of its own before a write is repeated; the API server may ask for a longer one.
const AGAIN_LONGEST: SignedDuration = SignedDuration::from_secs(16);
/// The longest that the API server may ask for.
const RETRY_AFTER_LONGEST: SignedDuration = SignedDuration::from_mins(1);

/// A write whose outcome is not known.
#[derive(Debug)]
pub(super) struct Write {
    /// The job as it was when this was decided.
    job: Job,
    decision: Decision,
    /// It waits for an answer.
    pub(super) under_way: bool,
    /// A copy of it got no answer that tells its outcome.
    unsure: bool,
    /// When it is to be repeated.
    again: Timestamp,
}

impl World {
    /// Asks for a write about a job.
    pub(super) fn write(&mut self, job: &Job, decision: Decision, now: Timestamp, batch: &mut Batch) {
        if let Some(entry) = self.jobs.get_mut(&job.identity.uid) {
            batch.push(Action::Decide { job: job.clone(), decision: decision.clone() });
            let write = Write { job: job.clone(), decision, under_way: true, unsure: false, again: now };
            entry.write = Some(Box::new(write));
        }
    }

    /// Repeats the write about a job whose outcome is not known, when its time has come.
    pub(super) fn write_again(&mut self, uid: &Uid, now: Timestamp, batch: &mut Batch) {
        let Some(entry) = self.jobs.get_mut(uid) else { return };
        let Some(write) = entry.write.as_mut().filter(|write| !write.under_way) else { return };
        if now < write.again {
            return self.timers.set(Subject::Job(uid.clone()), Some(write.again));
        }
        if let (Decision::Assign(seat), Some(worker)) = (&write.decision, &entry.holds)
            && self.loads.get(worker).is_some_and(|load| load.jobs.len() > seat.batch)
        {
            // Another leader gave the worker a job in the meantime.
            self.forget_write(uid, now);
            self.dirty_jobs.insert(uid.clone());
            return;
        }
        write.under_way = true;
        batch.push(Action::Decide { job: write.job.clone(), decision: write.decision.clone() });
    }

    pub(super) fn decision_ended(&mut self, uid: &Uid, result: Result<Stored, ApplyError>, now: Timestamp) {
        match result {
            // The watch showed its end before this answer came, which is of the time before.
            Ok(Stored::There(_)) if !self.jobs.contains_key(uid) => {}
            Ok(Stored::There(job)) => {
                self.relists.keep_job(uid);
                self.observe_job(job, now);
                self.write_ended(uid, SignedDuration::ZERO, false, now);
            }
            Ok(Stored::Gone) => self.remove_job(uid, now),
            Err(ApplyError::Unknown(unanswered)) => {
                self.write_ended(uid, unanswered.retry_after, true, now);
            }
            Err(_) => self.write_ended(uid, SignedDuration::ZERO, false, now),
        }
    }

    /// A request about the job ended, `unsure` where it does not tell the outcome. Where the job is in the same state as before, the next
    /// request waits for a growing delay, or for as long as the API server asks.
    fn write_ended(&mut self, uid: &Uid, retry_after: SignedDuration, unsure: bool, now: Timestamp) {
        let Some(entry) = self.jobs.get_mut(uid) else { return };
        let Some(write) = &mut entry.write else { return };
        if entry.job.identity.version > write.job.identity.version {
            entry.failures = 0;
            self.forget_write(uid, now);
            self.dirty_jobs.insert(uid.clone());
            return;
        }
        entry.failures += 1;
        let delay = doubled(AGAIN, AGAIN_LONGEST, entry.failures);
        let again = after(now, delay.max(retry_after.min(RETRY_AFTER_LONGEST)));
        write.under_way = false;
        write.unsure |= unsure;
        write.again = again;
        // A refusal says nothing about an earlier copy that may be on its way still.
        if !write.unsure {
            self.forget_write(uid, now);
        }
        self.timers.set(Subject::Job(uid.clone()), Some(again));
    }

    /// The answer to a request that is under way will not be heard.
    pub(super) fn abandon_write(&mut self, uid: &Uid, now: Timestamp) {
        let write = self.jobs.get_mut(uid).and_then(|entry| entry.write.as_mut());
        if write.is_some_and(|write| std::mem::take(&mut write.under_way)) {
            self.write_ended(uid, SignedDuration::ZERO, true, now);
        }
    }

    /// The outcome is known: only the job's stored state counts.
    fn forget_write(&mut self, uid: &Uid, now: Timestamp) {
        let Some(entry) = self.jobs.get_mut(uid) else { return };
        entry.write = None;
        let held = holder(&entry.job);
        self.hold(uid, held, true, now);
    }
}
