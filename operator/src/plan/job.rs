//! One job: what is to be done about it now.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use trellis_crds::conditions::{self, SCHEDULED, STALLED, SUSPENDED, reason};
use trellis_crds::{
    Assignment, Attempt, FailureReason, GenerationJobStatus, JobError, Outcome, Phase, labels,
};

use super::{Decision, NoPool, Waiting, retry_delay};
use crate::text::clip;
use crate::time::{after, seconds_after};
use crate::validate::{Crash, Job};

/// How long a job waits before that is worth a write.
const MOMENT: SignedDuration = SignedDuration::from_secs(1);
/// How many attempts in a row a worker may leave by itself before the next one counts as failed: a job that makes workers end, or do nothing,
/// would otherwise go from one to the next for ever.
const UNEXPLAINED: usize = 2;
/// How many attempts in a row may end soon and not count before the next one has to wait.
const AT_ONCE: usize = 5;
/// How long a job that is to be deleted is kept for its webhook, from when it ended: longer than its sender tries.
const TO_BE_TOLD: SignedDuration = SignedDuration::from_hours(24);
/// The schema's limit for an attempt's message.
const ATTEMPT_MESSAGE: usize = 1024;
/// The schema's limit for an error's message.
const ERROR_MESSAGE: usize = 2048;

/// What matters to a job beside the job itself.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    /// Why jobs of its pool wait at present, or why it has no pool.
    pub(crate) waiting: Result<Waiting, NoPool>,
    /// How long it presumably takes until it is done, where it waits.
    pub(crate) done_in: Option<SignedDuration>,
    /// What became of the worker that it is assigned to; of no meaning otherwise.
    pub(crate) worker: Fate,
    /// Its worker has another job that goes before it.
    pub(crate) worker_taken: bool,
    /// What this process saw of it on its worker.
    pub(crate) held: Held,
    /// Since when this process knows it as waiting.
    pub(crate) waiting_since: Timestamp,
    /// When this process saw it end, where it did.
    pub(crate) ended: Option<Timestamp>,
    /// It ended, and so many others of its namespace did later that it is not kept.
    pub(crate) is_surplus: bool,
}

/// Since when this process knows that a worker has the job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) since: Timestamp,
    /// It saw the worker get the job.
    pub(crate) from_the_start: bool,
}

/// What became of a job's worker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is there.
    Alive,
    /// It is being taken away, by what the text says, and may yet hand back its job, until then.
    Leaves { until: Timestamp, message: String },
    /// It was taken away, by what the text says.
    Lost(String),
    /// Its container ended by itself.
    Crashed(Crash),
    /// It ended in order, and said nothing of the job: which may have come too late for it.
    Left(String),
}

/// Decides about one job. The rules are those of `docs/architecture.md`.
pub(crate) fn job(job: &Job, at: &Situation, now: Timestamp) -> Decision {
    let empty = GenerationJobStatus::default();
    let status = job.status().unwrap_or(&empty);
    let phase = status.phase.unwrap_or_default();
    if job.is_being_deleted() {
        return Decision::Settled;
    }
    if phase.is_final() {
        return finished(job, status, at, now);
    }
    // Somebody had it tried again.
    if dead_letter(job).is_some() {
        return Decision::Unlabel;
    }
    if job.spec().cancel {
        return Decision::Cancel { attempt: cancelled_attempt(job, status, now) };
    }
    match &status.assignment {
        Some(assignment) if phase == Phase::Processing => processing(job, status, assignment, at, now),
        _ if job.spec().suspend => suspended(job, status),
        _ => waiting(job, status, at, now),
    }
}

fn finished(job: &Job, status: &GenerationJobStatus, at: &Situation, now: Timestamp) -> Decision {
    let failed = status.phase == Some(Phase::Failed);
    match dead_letter(job).filter(|_| failed) {
        Some(labels::DEAD_LETTER_RETRY) => return Decision::Revive,
        _ if at.is_surplus => return delete(job, status, at, now),
        None if failed => return Decision::DeadLetter,
        _ => {}
    }
    if is_outdated(job, status) {
        return Decision::Acknowledge;
    }
    let finished = job.spec().ttl_seconds_after_finished;
    let seconds = if failed { job.spec().ttl_seconds_after_failed.or(finished) } else { finished };
    let Some(seconds) = seconds else { return Decision::Settled };
    let end = seconds_after(ended(job, status, at), seconds);
    if now >= end { delete(job, status, at, now) } else { Decision::Idle { until: Some(end) } }
}

/// Deletes the job, but lets its webhook be told first, for a while.
fn delete(job: &Job, status: &GenerationJobStatus, at: &Situation, now: Timestamp) -> Decision {
    let told = job.object.undelivered_webhook_messages().is_empty();
    let end = after(ended(job, status, at), TO_BE_TOLD);
    if told || now >= end { Decision::Delete } else { Decision::Idle { until: Some(end) } }
}

/// What the job's label as failed for good says.
fn dead_letter(job: &Job) -> Option<&str> {
    job.object.metadata.labels.as_ref()?.get(labels::DEAD_LETTER).map(String::as_str)
}

/// The attempt that runs, ended by `spec.cancel`.
fn cancelled_attempt(job: &Job, status: &GenerationJobStatus, now: Timestamp) -> Option<Attempt> {
    let assignment = status.assignment.as_ref().filter(|_| status.phase == Some(Phase::Processing))?;
    let runs = job.object.current_attempt_ended().is_none();
    runs.then(|| ended_now(assignment, Outcome::HandedBack, None, "spec.cancel ended the job", now))
}

/// When the job ended. The completion time is of the worker's clock: were that behind, the job would be deleted before anybody saw its result.
fn ended(job: &Job, status: &GenerationJobStatus, at: &Situation) -> Timestamp {
    let completed = status.completion_time.as_ref().map(|time| time.0);
    let assigned = status.assignment.as_ref().map(|assignment| assignment.time.0);
    [completed, assigned, at.ended].into_iter().flatten().max().unwrap_or(job.identity.created)
}

fn processing(
    job: &Job,
    status: &GenerationJobStatus,
    assignment: &Assignment,
    at: &Situation,
    now: Timestamp,
) -> Decision {
    if let Some(ended) = job.object.current_attempt_ended() {
        return ended_attempt(job, status, ended.clone());
    }
    let end = |outcome, reason, message: &str| ended_now(assignment, outcome, reason, message, now);
    if job.spec().suspend {
        let attempt = end(Outcome::HandedBack, None, "spec.suspend holds the job back");
        return Decision::Suspend { attempt: Some(attempt) };
    }
    match &at.worker {
        Fate::Alive => {}
        // It may still be at the job: the next attempt would run beside it.
        Fate::Leaves { until, .. } if now < *until => {}
        Fate::Lost(message) | Fate::Leaves { message, .. } => {
            let attempt = end(Outcome::Lost, None, message);
            return Decision::Requeue { attempt, reason: reason::WORKER_LOST };
        }
        Fate::Crashed(crash) => {
            let attempt = end(Outcome::Failed, Some(crash.reason), &crash.message);
            return ended_attempt(job, status, attempt);
        }
        Fate::Left(message) => {
            let attempt = end(Outcome::Lost, Some(FailureReason::WorkerCrashed), message);
            return unexplained_end(job, status, attempt);
        }
    }
    // Assigning clears it. Its time is of the worker's clock, which may be behind.
    let started = status.progress.is_some();
    if at.worker_taken && !started {
        let attempt = end(Outcome::Lost, None, "the worker has another job");
        return Decision::Requeue { attempt, reason: reason::WORKER_TAKEN };
    }
    let run_seconds = job.spec().deadlines.run_seconds;
    let run_end = deadline(assignment, at.held, run_seconds);
    if now >= run_end {
        let message = format!("ran longer than spec.deadlines.runSeconds, {run_seconds} s");
        return ended_attempt(job, status, end(Outcome::Failed, None, &message));
    }
    let start_seconds = job.spec().deadlines.start_seconds;
    let start_end = deadline(assignment, at.held, start_seconds);
    if !started && now >= start_end {
        let message = format!("no sign of life within spec.deadlines.startSeconds, {start_seconds} s");
        let attempt = end(Outcome::Lost, Some(FailureReason::NoSignOfLife), &message);
        return unexplained_end(job, status, attempt);
    }
    let leaves = if let Fate::Leaves { until, .. } = &at.worker { Some(*until) } else { None };
    Decision::Idle {
        until: [Some(run_end), (!started).then_some(start_end), leaves].into_iter().flatten().min(),
    }
}

/// When so much time of the attempt is over. The assignment's time is of the clock of its day, which may have been another: a process that did
/// not see the job get its worker waits for a tenth of the time at least, and one that did for all of it.
fn deadline(assignment: &Assignment, held: Held, seconds: i32) -> Timestamp {
    let assigned = assignment.time.0;
    if held.from_the_start {
        return seconds_after(assigned.max(held.since), seconds);
    }
    seconds_after(assigned.min(held.since), seconds).max(seconds_after(held.since, seconds / 10))
}

/// The attempt ended: by its worker's report, or because of what was observed.
fn ended_attempt(job: &Job, status: &GenerationJobStatus, attempt: Attempt) -> Decision {
    match attempt.outcome {
        Outcome::Lost => Decision::Requeue { attempt, reason: reason::WORKER_LOST },
        Outcome::HandedBack => Decision::Requeue { attempt, reason: reason::HANDED_BACK },
        // A success without the phase Completed breaks the protocol; as a failure it cannot repeat for ever.
        Outcome::Failed | Outcome::Succeeded => failed_attempt(job, status, attempt),
    }
}

/// The worker left the job by itself. That may be no fault of the job, the first times.
fn unexplained_end(job: &Job, status: &GenerationJobStatus, attempt: Attempt) -> Decision {
    let since_failure = status.attempts.iter().rev().take_while(|past| past.outcome != Outcome::Failed);
    let unexplained = since_failure.filter(|past| past.outcome == Outcome::Lost && past.reason.is_some());
    if unexplained.count() < UNEXPLAINED {
        return Decision::Requeue { attempt, reason: reason::WORKER_LOST };
    }
    failed_attempt(job, status, Attempt { outcome: Outcome::Failed, ..attempt })
}

fn failed_attempt(job: &Job, status: &GenerationJobStatus, attempt: Attempt) -> Decision {
    let limit = job.spec().backoff_limit;
    let invalid = attempt.reason == Some(FailureReason::InvalidInput);
    if !invalid && status.failures < limit {
        return Decision::Retry { attempt };
    }
    let code = attempt.reason.map_or(reason::DEADLINE_EXCEEDED, FailureReason::as_str);
    let what = attempt.message.as_deref().unwrap_or("the worker gave no message");
    let message = if invalid {
        format!("The input cannot become an asset: {what}. Create a new job with another input.")
    } else {
        let failures = status.failures.saturating_add(1);
        format!("Failed {failures} times (spec.backoffLimit {limit}), the last time: {what}.")
    };
    let error = JobError { code: code.into(), message: clip(&message, ERROR_MESSAGE), retryable: !invalid };
    let reason = if invalid { reason::INVALID_INPUT } else { reason::OUT_OF_RETRIES };
    Decision::Fail { attempt: Some(attempt), error, reason }
}

fn suspended(job: &Job, status: &GenerationJobStatus) -> Decision {
    if !conditions::is_true(&status.conditions, SUSPENDED) {
        Decision::Suspend { attempt: None }
    } else if is_outdated(job, status) {
        Decision::Acknowledge
    } else {
        Decision::Idle { until: None }
    }
}

fn waiting(job: &Job, status: &GenerationJobStatus, at: &Situation, now: Timestamp) -> Decision {
    let queue_end = queue_end(job, status);
    if queue_end.is_some_and(|end| now >= end) {
        return out_of_patience(job, at);
    }
    let start = next_start(job, status, at);
    if let Some(start) = start.filter(|start| now < *start) {
        return Decision::Idle { until: Some(start) };
    }
    let why = at.waiting.clone().unwrap_or_else(|message| Waiting { reason: reason::NO_POOL, message });
    // Being assigned tells as much as an explanation, and is only a moment away where a worker is idle.
    let explained = is_explained(status, why.reason) && !is_outdated(job, status);
    let explain_at = after(start.map_or(at.waiting_since, |start| start.max(at.waiting_since)), MOMENT);
    if !explained && now >= explain_at {
        return Decision::Explain { waiting: why, done_in: at.done_in };
    }
    let until = [queue_end, (!explained).then_some(explain_at)].into_iter().flatten().min();
    match at.waiting {
        Ok(_) => Decision::Queue { until },
        Err(_) => Decision::Idle { until },
    }
}

/// When the job fails unless it has had a worker. It did not wait while `spec.suspend` held it back, or while it had failed for good.
fn queue_end(job: &Job, status: &GenerationJobStatus) -> Option<Timestamp> {
    let seconds = job.spec().deadlines.queue_seconds.filter(|_| status.attempts.is_empty())?;
    if conditions::is_true(&status.conditions, SUSPENDED) {
        // That it goes on is not written yet.
        return None;
    }
    let ended = |kind| conditions::get(&status.conditions, kind).map(|ended| ended.last_transition_time.0);
    let since =
        [ended(SUSPENDED), ended(STALLED)].into_iter().flatten().fold(job.identity.created, Timestamp::max);
    Some(seconds_after(since, seconds))
}

fn out_of_patience(job: &Job, at: &Situation) -> Decision {
    let seconds = job.spec().deadlines.queue_seconds.unwrap_or_default();
    let why = at.waiting.as_ref().map_or_else(|no_pool| no_pool.as_str(), |waiting| &waiting.message);
    let message = format!("No worker took the job within spec.deadlines.queueSeconds, {seconds} s. {why}");
    let error = JobError {
        code: reason::DEADLINE_EXCEEDED.into(),
        message: clip(&message, ERROR_MESSAGE),
        retryable: true,
    };
    Decision::Fail { attempt: None, error, reason: reason::DEADLINE_EXCEEDED }
}

/// When the next attempt may start: some time after one that failed, and after many in a row that ended soon, whatever ended them.
fn next_start(job: &Job, status: &GenerationJobStatus, at: &Situation) -> Option<Timestamp> {
    let last = status.attempts.last()?;
    let times = match last.outcome {
        // Somebody has it tried again.
        Outcome::Failed if status.failures == 0 => return None,
        Outcome::Failed => status.failures,
        _ => {
            i32::try_from(ended_soon(job, status).checked_sub(AT_ONCE)?).unwrap_or(i32::MAX).saturating_add(1)
        }
    };
    // The end is of the worker's clock. Were that ahead, the job would wait for it.
    let end = last.end.0.min(at.waiting_since);
    Some(after(end, retry_delay(times, &job.identity.uid)))
}

/// How many of the last attempts in a row ended without counting, and before they had to give a sign of life.
fn ended_soon(job: &Job, status: &GenerationJobStatus) -> usize {
    let soon = SignedDuration::from_secs(job.spec().deadlines.start_seconds.into());
    let free =
        |past: &&Attempt| past.outcome != Outcome::Failed && past.end.0.duration_since(past.start.0) <= soon;
    status.attempts.iter().rev().take_while(free).count()
}

/// Whether the status says already why the job waits. That the workers are busy, starting or lost is the same to somebody who
/// waits: going from one to the other is worth no write, with thousands of jobs in the queue.
fn is_explained(status: &GenerationJobStatus, why: &str) -> bool {
    let Some(written) = conditions::get(&status.conditions, SCHEDULED) else { return false };
    written.status == "False" && says_the_same(&written.reason, why)
}

/// Whether two reasons for waiting are the same to somebody who waits.
pub(crate) fn says_the_same(one: &str, other: &str) -> bool {
    const ORDINARY: [&str; 5] = [
        reason::NO_IDLE_WORKER,
        reason::POOL_STARTING,
        reason::WORKER_LOST,
        reason::WORKER_TAKEN,
        reason::HANDED_BACK,
    ];
    one == other || [one, other].iter().all(|reason| ORDINARY.contains(reason))
}

/// Whether the specification changed since the operator last wrote. While a worker has the job that waits for its report.
fn is_outdated(job: &Job, status: &GenerationJobStatus) -> bool {
    let seen = status.observed_generation.filter(|generation| *generation >= 0);
    seen.is_some() && seen < job.object.metadata.generation
}

fn ended_now(
    assignment: &Assignment,
    outcome: Outcome,
    reason: Option<FailureReason>,
    message: &str,
    now: Timestamp,
) -> Attempt {
    Attempt {
        number: assignment.attempt,
        worker: assignment.worker.clone(),
        start: assignment.time.clone(),
        end: MicroTime(now),
        outcome,
        reason,
        message: Some(clip(message, ATTEMPT_MESSAGE)),
    }
}
