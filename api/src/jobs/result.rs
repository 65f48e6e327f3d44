//! The files that a job made.

use trellis_crds::{GenerationJob, OutputFile, Phase};

use super::view::{JobError, Status, format_name};

/// Why a job has no such file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResultError {
    /// It is not finished.
    #[error("The job is not finished. Ask for its status, and for its result once that is `completed`.")]
    NotFinished(Status),
    /// It failed.
    #[error("The job failed: {}", .0.message)]
    Failed(JobError),
    /// It was cancelled.
    #[error("The job was cancelled before it made anything.")]
    Cancelled,
    /// It made others.
    #[error("The job made no `{format}` file. There is: {}.", .available.join(", "))]
    NoSuchFormat {
        /// What was asked for.
        format: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The storage does not give it.
    #[error(transparent)]
    Storage(#[from] trellis_storage::Error),
}

/// The file of `job` that is called `format`: `glb`, `preview`, …
pub(crate) fn file<'a>(job: &'a GenerationJob, format: &str) -> Result<&'a OutputFile, ResultError> {
    let outputs = job.status.as_ref().map(|status| status.outputs.as_slice()).unwrap_or_default();
    match job.phase() {
        Phase::Completed => {}
        phase @ (Phase::Pending | Phase::Processing) => return Err(ResultError::NotFinished(phase.into())),
        Phase::Cancelled => return Err(ResultError::Cancelled),
        Phase::Failed => {
            let error = job.status.as_ref().and_then(|status| status.error.clone()).unwrap_or_default();
            return Err(ResultError::Failed(error.into()));
        }
    }
    outputs.iter().find(|file| format_name(file) == format).ok_or_else(|| ResultError::NoSuchFormat {
        format: format.to_owned(),
        available: outputs.iter().map(|file| format_name(file).to_owned()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trellis_crds::GenerationJobStatus;

    fn job(phase: Phase, formats: &[&str]) -> GenerationJob {
        let outputs = formats.iter().map(|format| OutputFile {
            format: (*format).into(),
            uri: format!("gs://bucket/model.{format}"),
            bytes: 1,
            sha256: "0".repeat(64),
        });
        let status =
            GenerationJobStatus { phase: Some(phase), outputs: outputs.collect(), ..Default::default() };
        GenerationJob { status: Some(status), ..Default::default() }
    }

    #[test]
    fn a_completed_job_gives_its_files_by_name() {
        let done = job(Phase::Completed, &["glb", "png", "json"]);
        for (name, format) in [("glb", "glb"), ("preview", "png"), ("manifest", "json")] {
            assert_eq!(file(&done, name).unwrap().format, format);
        }
        let error = file(&done, "usdz").unwrap_err().to_string();
        assert_eq!(error, "The job made no `usdz` file. There is: glb, preview, manifest.");
    }

    #[test]
    fn no_other_job_has_a_result_whatever_its_status_lists() {
        let files = ["glb"];
        assert!(matches!(
            file(&GenerationJob::default(), "glb"),
            Err(ResultError::NotFinished(Status::Pending))
        ));
        let running = job(Phase::Processing, &files);
        assert!(matches!(file(&running, "glb"), Err(ResultError::NotFinished(Status::Processing))));
        assert!(matches!(file(&job(Phase::Cancelled, &files), "glb"), Err(ResultError::Cancelled)));
        assert!(matches!(file(&job(Phase::Failed, &files), "glb"), Err(ResultError::Failed(_))));
    }
}
