//! A job's status after a decision.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use trellis_crds::conditions::{
    self, ACCEPTED, NewCondition, READY, RECONCILING, SCHEDULED, STALLED, SUSPENDED, reason,
};
use trellis_crds::{Assignment, Attempt, GenerationJobStatus, JobError, Outcome, Phase};

use crate::plan::{Decision, Seat, Waiting, retry_delay};
use crate::time;
use crate::validate::Job;

/// The status that `decision` asks to be written; `None` where it asks for none.
pub(crate) fn after(job: &Job, decision: &Decision, now: Timestamp) -> Option<GenerationJobStatus> {
    let mut draft = Draft::new(job, now);
    match decision {
        Decision::Settled
        | Decision::Idle { .. }
        | Decision::Queue { .. }
        | Decision::DeadLetter
        | Decision::Unlabel
        | Decision::Delete => return None,
        Decision::Acknowledge => {}
        Decision::Explain { waiting, done_in } => draft.explain(waiting, *done_in),
        Decision::Assign(seat) => draft.assign(seat),
        Decision::Requeue { attempt, reason } => draft.requeue(attempt, reason),
        Decision::Retry { attempt } => draft.retry(attempt),
        Decision::Fail { attempt, error, reason } => draft.fail(attempt.as_ref(), error, reason),
        Decision::Suspend { attempt } => draft.suspend(attempt.as_ref()),
        Decision::Cancel { attempt } => draft.cancel(attempt.as_ref()),
        Decision::Revive => draft.revive(),
    }
    Some(draft.status)
}

/// A status in the making.
struct Draft<'a> {
    job: &'a Job,
    now: Timestamp,
    status: GenerationJobStatus,
}

impl<'a> Draft<'a> {
    fn new(job: &'a Job, now: Timestamp) -> Self {
        let mut status = job.status().cloned().unwrap_or_default();
        status.observed_generation = job.object.metadata.generation;
        Self { job, now, status }
    }

    fn set(&mut self, kind: &str, holds: bool, reason: &str, message: &str) {
        let observed_generation = self.job.object.metadata.generation;
        let new = NewCondition { kind, holds, reason, message, observed_generation };
        conditions::set(&mut self.status.conditions, new, self.now);
    }

    fn accept(&mut self) {
        self.set(ACCEPTED, true, reason::VALID, "The specification is valid.");
        if conditions::is_true(&self.status.conditions, SUSPENDED) && !self.job.spec().suspend {
            self.set(SUSPENDED, false, reason::RESUMED, "spec.suspend was taken back.");
        }
    }

    fn wait(&mut self, waiting: &Waiting) {
        self.status.phase = Some(Phase::Pending);
        self.accept();
        self.set(SCHEDULED, false, waiting.reason, &waiting.message);
        self.set(READY, false, reason::PENDING, "The job waits for a worker.");
        self.set(RECONCILING, true, reason::PENDING, "The job waits for a worker.");
    }

    fn explain(&mut self, waiting: &Waiting, done_in: Option<SignedDuration>) {
        self.wait(waiting);
        if self.status.estimated_completion_time.is_none() {
            self.estimate(done_in);
        }
    }

    fn estimate(&mut self, done_in: Option<SignedDuration>) {
        self.status.estimated_completion_time = done_in.map(|rest| MicroTime(time::after(self.now, rest)));
    }

    fn assign(&mut self, seat: &Seat) {
        let own = seat.pool.namespace == self.job.identity.key.namespace;
        let assignment = Assignment {
            pool: if own { seat.pool.name.clone() } else { seat.pool.to_string() },
            worker: seat.worker.clone(),
            pod_uid: seat.uid.to_string(),
            attempt: self.job.object.next_attempt_number(),
            time: MicroTime(seat.time),
            batch: i32::try_from(seat.batch).ok().filter(|jobs| *jobs > 1),
        };
        self.status.phase = Some(Phase::Processing);
        self.status.progress = None;
        self.estimate(seat.done_in);
        self.accept();
        let message = format!("Attempt {} is on worker {}.", assignment.attempt, seat.worker);
        self.status.assignment = Some(assignment);
        self.set(SCHEDULED, true, reason::ASSIGNED, &message);
        self.set(READY, false, reason::PROCESSING, "A worker runs the job.");
        self.set(RECONCILING, true, reason::PROCESSING, "A worker runs the job.");
    }

    /// Takes the job from its worker, and keeps a record of the attempt.
    fn take_back(&mut self, attempt: &Attempt) {
        if self.status.attempts.iter().all(|known| known.number != attempt.number) {
            self.status.record_attempt(attempt.clone());
        }
        self.status.assignment = None;
        self.status.progress = None;
        self.status.estimated_completion_time = None;
    }

    /// Keeps a record of the job's last attempt, and the name of the worker that had it.
    fn end_attempt(&mut self, attempt: &Attempt) {
        let assignment = self.status.assignment.clone();
        self.take_back(attempt);
        self.status.assignment = assignment;
    }

    fn requeue(&mut self, attempt: &Attempt, why: &'static str) {
        self.take_back(attempt);
        let what = attempt.message.as_deref().unwrap_or("the worker's pod is to end");
        let message = format!("Attempt {} is void: {what}. The job goes to the next worker.", attempt.number);
        self.wait(&Waiting { reason: why, message });
    }

    fn retry(&mut self, attempt: &Attempt) {
        self.take_back(attempt);
        self.status.failures = self.status.failures.saturating_add(1);
        let delay = retry_delay(self.status.failures, &self.job.identity.uid).as_secs();
        let why = describe(attempt);
        let message =
            format!("Attempt {} failed: {why}. The next one starts after {delay} s.", attempt.number);
        self.wait(&Waiting { reason: reason::BACKING_OFF, message });
    }

    fn fail(&mut self, attempt: Option<&Attempt>, error: &JobError, why: &str) {
        if let Some(attempt) = attempt {
            self.end_attempt(attempt);
            self.status.failures = self.status.failures.saturating_add(1);
        }
        self.end(Phase::Failed, why, &error.message);
        self.status.error = Some(error.clone());
    }

    fn suspend(&mut self, attempt: Option<&Attempt>) {
        if let Some(attempt) = attempt {
            self.take_back(attempt);
        }
        let message = "spec.suspend holds the job back; set it to false to go on.";
        self.status.estimated_completion_time = None;
        self.status.phase = Some(Phase::Pending);
        self.accept();
        for kind in [SCHEDULED, READY, RECONCILING] {
            self.set(kind, false, reason::SUSPENDED, message);
        }
        self.set(SUSPENDED, true, reason::SUSPENDED, message);
    }

    fn cancel(&mut self, attempt: Option<&Attempt>) {
        if let Some(attempt) = attempt {
            self.end_attempt(attempt);
        }
        self.end(Phase::Cancelled, reason::CANCELLED, "spec.cancel ended the job.");
    }

    /// Lets a job that failed for good begin anew. Its attempts stay on record, so that numbers, and output folders with them, go on.
    fn revive(&mut self) {
        let message = "The job failed for good, and its label asks for another try.";
        self.status.failures = 0;
        self.status.error = None;
        self.status.assignment = None;
        self.status.completion_time = None;
        self.wait(&Waiting { reason: reason::RETRIED, message: message.into() });
        self.set(STALLED, false, reason::RETRIED, message);
    }

    fn end(&mut self, phase: Phase, why: &str, message: &str) {
        self.status.phase = Some(phase);
        self.status.completion_time = Some(MicroTime(self.now));
        self.status.estimated_completion_time = None;
        self.accept();
        self.set(READY, false, why, message);
        self.set(RECONCILING, false, why, message);
        self.set(STALLED, true, why, message);
    }
}

/// Why an attempt failed, in one phrase.
fn describe(attempt: &Attempt) -> String {
    let reason = match (attempt.outcome, attempt.reason) {
        (_, Some(reason)) => reason.as_str(),
        (Outcome::Failed, None) => reason::DEADLINE_EXCEEDED,
        _ => "no reason given",
    };
    match &attempt.message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}
