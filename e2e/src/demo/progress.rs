//! What a person is told while a job goes on.

use trellis_crds::conditions::{self, SCHEDULED};
use trellis_crds::{GenerationJob, Phase};

/// One line about a job's state.
pub(super) fn describe(job: &GenerationJob) -> String {
    let Some(status) = &job.status else { return "not yet seen by the operator".to_owned() };
    let worker = job.assignment().map_or("a worker", |assignment| assignment.worker.as_str());
    match job.phase() {
        Phase::Pending => match conditions::get(&status.conditions, SCHEDULED) {
            Some(scheduled) => format!("Pending: {}", scheduled.message),
            None => "Pending".to_owned(),
        },
        Phase::Processing => match &status.progress {
            Some(progress) => format!("Processing on {worker}: {} {} %", progress.stage, progress.percent),
            None => format!("Processing on {worker}"),
        },
        Phase::Failed => match &status.error {
            Some(error) => format!("Failed: {}: {}", error.code, error.message),
            None => "Failed".to_owned(),
        },
        phase => phase.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trellis_crds::{GenerationJobSpec, GenerationJobStatus, JobError};

    #[test]
    fn a_failed_job_is_described_by_its_error() {
        let mut job = GenerationJob::new("cup", GenerationJobSpec::default());
        assert_eq!(describe(&job), "not yet seen by the operator");
        job.status = Some(GenerationJobStatus {
            phase: Some(Phase::Failed),
            error: Some(JobError {
                code: "InvalidInput".into(),
                message: "not an image".into(),
                retryable: false,
            }),
            ..GenerationJobStatus::default()
        });
        assert_eq!(describe(&job), "Failed: InvalidInput: not an image");
    }
}
