//! What a worker writes into a job's status. Pure: a job goes in, the changed job comes out.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use trellis_crds::conditions::{self, NewCondition, READY, RECONCILING, reason};
use trellis_crds::{Attempt, GenerationJob, GenerationJobStatus, Outcome, Phase, Progress};

use crate::engine::Product;
use crate::failure::Failure;

/// The longest message that the schema takes, in characters.
const MESSAGE_LENGTH: usize = 1024;

/// When an attempt started and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
}

/// The files are there: the job is over.
pub fn complete(job: &mut GenerationJob, product: &Product) {
    let period = product.period;
    let observed_generation = job.metadata.generation;
    let message = format!("{} files are in {}", product.outputs.len(), product.folder);
    end_attempt(job, period, Outcome::Succeeded, None);
    let status = job.status.get_or_insert_default();
    status.phase = Some(Phase::Completed);
    status.outputs = product.outputs.clone();
    status.timings = product.timings.clone();
    status.peak_memory_bytes = product.peak_memory;
    status.seed = Some(product.seed);
    status.start_time = Some(MicroTime(period.start));
    status.completion_time = Some(MicroTime(period.end));
    status.estimated_completion_time = None;
    for (kind, holds) in [(READY, true), (RECONCILING, false)] {
        let condition =
            NewCondition { kind, holds, reason: reason::COMPLETED, message: &message, observed_generation };
        conditions::set(&mut status.conditions, condition, period.end);
    }
}

/// The attempt failed. Whether another follows is the operator's decision.
pub(crate) fn fail(job: &mut GenerationJob, period: Period, failure: &Failure) {
    end_attempt(job, period, Outcome::Failed, Some(failure));
}

/// The pod is to end: the job goes to another worker.
pub(crate) fn hand_back(job: &mut GenerationJob, period: Period) {
    end_attempt(job, period, Outcome::HandedBack, None);
}

/// The attempt is at `percent` of the whole, in `stage`.
pub(crate) fn progress(job: &mut GenerationJob, stage: &str, percent: i32, now: Timestamp) {
    let progress = Progress { stage: stage.into(), percent, updated_at: MicroTime(now) };
    job.status.get_or_insert_default().progress = Some(progress);
}

fn end_attempt(job: &mut GenerationJob, period: Period, outcome: Outcome, failure: Option<&Failure>) {
    let status: &mut GenerationJobStatus = job.status.get_or_insert_default();
    // An attempt is made only at a job that has an assignment.
    let Some(assignment) = &status.assignment else { return };
    let attempt = Attempt {
        number: assignment.attempt,
        worker: assignment.worker.clone(),
        start: MicroTime(period.start),
        end: MicroTime(period.end),
        outcome,
        reason: failure.map(|failure| failure.reason),
        message: failure.map(|failure| failure.message.chars().take(MESSAGE_LENGTH).collect()),
    };
    status.progress = None;
    status.record_attempt(attempt);
}

#[cfg(test)]
mod tests {
    use trellis_crds::{FailureReason, OutputFile, StageTiming};

    use super::*;
    use crate::desk::tests::{assigned, at, identity};

    fn period() -> Period {
        Period { start: at(20).0, end: at(30).0 }
    }

    fn product() -> Product {
        let output = OutputFile {
            format: "glb".into(),
            uri: "gs://b/shop/a/1/model.glb".into(),
            bytes: 3,
            sha256: "00".into(),
        };
        let timing = StageTiming { stage: "decode".into(), milliseconds: 5 };
        Product {
            period: period(),
            folder: "gs://b/shop/a/1".into(),
            outputs: vec![output],
            timings: vec![timing],
            peak_memory: Some(1 << 30),
            seed: 7,
        }
    }

    #[test]
    fn a_completed_job_says_where_its_files_are_and_is_ready() {
        let mut job = assigned("a");
        progress(&mut job, "decode", 50, at(25).0);
        complete(&mut job, &product());
        let status = job.status.as_ref().unwrap();
        assert_eq!(status.phase, Some(Phase::Completed));
        assert_eq!(status.outputs, product().outputs);
        assert_eq!(
            (status.seed, status.peak_memory_bytes, &status.start_time, &status.completion_time),
            (Some(7), Some(1 << 30), &Some(at(20)), &Some(at(30)))
        );
        assert_eq!(status.progress, None);
        assert!(conditions::is_true(&status.conditions, READY));
        assert!(!conditions::is_true(&status.conditions, RECONCILING));
        assert_eq!(job.current_attempt_ended().unwrap().outcome, Outcome::Succeeded);
    }

    #[test]
    fn a_failure_leaves_the_decision_to_the_operator() {
        let mut job = assigned("a");
        let before = job.clone();
        fail(&mut job, period(), &Failure::invalid("x".repeat(5000)));
        let attempt = job.current_attempt_ended().unwrap();
        assert_eq!((attempt.outcome, attempt.reason), (Outcome::Failed, Some(FailureReason::InvalidInput)));
        assert_eq!(attempt.message.as_ref().unwrap().len(), MESSAGE_LENGTH);
        assert_eq!(job.phase(), before.phase());
        assert_eq!(job.assignment(), before.assignment());
    }

    #[test]
    fn an_attempt_that_ended_is_not_taken_again() {
        for end in [|job: &mut _| hand_back(job, period()), |job: &mut _| complete(job, &product())] {
            let mut job = assigned("a");
            end(&mut job);
            assert_eq!(identity().attempt_at(&job), None);
        }
    }
}
