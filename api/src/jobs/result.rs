//! The files that a job made.

use kube::ResourceExt as _;
use trellis_crds::{GenerationJob, OutputFile, Phase};
use trellis_storage::ObjectUri;

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
    /// Its status names a file that the attempt which completed it did not make. A worker wrote the status, and this service could read
    /// what is other users'.
    #[error("the status of the job names a file outside of the folder of its attempt")]
    Foreign,
    /// It has no such bytes.
    #[error("The file has {size} bytes, and none of those that the header Range names.")]
    Range {
        /// Its size.
        size: u64,
    },
    /// The storage does not give it.
    #[error(transparent)]
    Storage(#[from] trellis_storage::Error),
}

/// The file of `job` that is called `format`: `glb`, `preview`, … A job of several samples has one of each; they count from 0.
pub(crate) fn file<'a>(
    job: &'a GenerationJob,
    format: &str,
    sample: usize,
) -> Result<&'a OutputFile, ResultError> {
    let outputs = files(job)?;
    let mut fitting = outputs.iter().filter(|file| format_name(file) == format);
    fitting.nth(sample).ok_or_else(|| ResultError::NoSuchFormat {
        format: if sample == 0 { format.to_owned() } else { format!("{format} of sample {sample}") },
        available: outputs.iter().map(|file| format_name(file).to_owned()).collect(),
    })
}

/// What `file` of `job` is called where it is saved, without its ending: files of several samples must not have one name. They have the numbers by
/// which they are asked for.
pub(crate) fn name(job: &GenerationJob, file: &OutputFile, sample: usize) -> String {
    let outputs = files(job).unwrap_or_default();
    let alike = outputs.iter().filter(|other| other.format == file.format).count();
    if alike > 1 { format!("{}-{sample}", job.name_any()) } else { job.name_any() }
}

/// All files of `job`.
pub(crate) fn files(job: &GenerationJob) -> Result<&[OutputFile], ResultError> {
    match job.phase() {
        Phase::Completed => {
            Ok(job.status.as_ref().map(|status| status.outputs.as_slice()).unwrap_or_default())
        }
        phase @ (Phase::Pending | Phase::Processing) => Err(ResultError::NotFinished(phase.into())),
        Phase::Cancelled => Err(ResultError::Cancelled),
        Phase::Failed => {
            let error = job.status.as_ref().and_then(|status| status.error.clone()).unwrap_or_default();
            Err(ResultError::Failed(error.into()))
        }
    }
}

/// Where `file` is: in the folder of the attempt that completed `job`, or nowhere.
pub(crate) fn place(job: &GenerationJob, file: &OutputFile) -> Result<ObjectUri, ResultError> {
    let uri: ObjectUri = file.uri.parse()?;
    let attempt = job.assignment().ok_or(ResultError::Foreign)?.attempt;
    let folder = format!("/{}/", job.folder_of_attempt(attempt));
    let (_, name) = file.uri.rsplit_once(&folder).ok_or(ResultError::Foreign)?;
    // An encoded part of a file:// address may lead elsewhere.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = !matches!(name, "" | "." | "..") && name.bytes().all(plain);
    if is_name { Ok(uri) } else { Err(ResultError::Foreign) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::view::Job;
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
        let mut job = GenerationJob { status: Some(status), ..Default::default() };
        job.metadata.name = Some("gj-1".into());
        job
    }

    #[test]
    fn a_completed_job_gives_its_files_by_name() {
        let done = job(Phase::Completed, &["glb", "png", "json"]);
        for (name, format) in [("glb", "glb"), ("preview", "png"), ("manifest", "json")] {
            assert_eq!(file(&done, name, 0).unwrap().format, format);
        }
        let error = file(&done, "usdz", 0).unwrap_err().to_string();
        assert_eq!(error, "The job made no `usdz` file. There is: glb, preview, manifest.");
    }

    #[test]
    fn each_of_several_samples_has_files_and_addresses_of_its_own() {
        let done = job(Phase::Completed, &["glb", "png", "glb", "png"]);
        let outputs = &done.status.as_ref().unwrap().outputs;
        assert!(std::ptr::eq(file(&done, "preview", 1).unwrap(), &outputs[3]));
        let error = file(&done, "glb", 2).unwrap_err().to_string();
        assert!(error.starts_with("The job made no `glb of sample 2` file."), "{error}");
        assert_eq!(name(&done, &outputs[3], 1), "gj-1-1");
        assert_eq!(name(&job(Phase::Completed, &["glb", "png"]), &outputs[3], 0), "gj-1");
        let urls: Vec<_> = Job::from(&done).outputs.into_iter().map(|output| output.url).collect();
        let asked = urls.iter().map(|url| url.rsplit_once('?').unwrap().1).collect::<Vec<_>>();
        assert_eq!(asked, ["format=glb", "format=preview", "format=glb&sample=1", "format=preview&sample=1"]);
    }

    #[test]
    fn only_files_of_the_attempt_that_completed_the_job_are_served() {
        let mut done: GenerationJob = serde_json::from_value(serde_json::json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {"namespace": "shop", "uid": "u"},
            "spec": {"input": {}},
            "status": {"assignment": {
                "pool": "image", "worker": "a", "podUid": "p", "attempt": 2, "time": "2026-01-01T00:00:00.000000Z",
            }},
        }))
        .unwrap();
        let place = |done: &GenerationJob, uri: &str| {
            let file = OutputFile { format: "glb".into(), uri: uri.into(), bytes: 1, sha256: String::new() };
            place(done, &file).map(|uri| uri.to_string()).ok()
        };
        for own in ["gs://bucket/out/shop/u/2/model.glb", "file:///out/shop/u/2/model-1.glb"] {
            assert_eq!(place(&done, own).as_deref(), Some(own));
        }
        for foreign in [
            "gs://bucket/out/shop/u/1/model.glb",
            "gs://bucket/out/shop/other/2/model.glb",
            "gs://bucket/out/fashop/u/2/model.glb",
            "gs://bucket/out/shop/u/2/",
            "gs://bucket/out/shop/u/2/a/model.glb",
            "file:///out/shop/u/2/..",
            "file:///out/shop/u/2/%2e%2e/%2e%2e/other/2/model.glb",
            "file:///out/shop/u/2/..%2f..%2fother",
            "https://example.com/shop/u/2/model.glb",
        ] {
            assert_eq!(place(&done, foreign), None, "{foreign}");
        }
        done.status = None;
        assert_eq!(place(&done, "gs://bucket/out/shop/u/2/model.glb"), None);
    }

    #[test]
    fn no_other_job_has_a_result_whatever_its_status_lists() {
        let files = ["glb"];
        assert!(matches!(
            file(&GenerationJob::default(), "glb", 0),
            Err(ResultError::NotFinished(Status::Pending))
        ));
        let running = job(Phase::Processing, &files);
        assert!(matches!(file(&running, "glb", 0), Err(ResultError::NotFinished(Status::Processing))));
        assert!(matches!(file(&job(Phase::Cancelled, &files), "glb", 0), Err(ResultError::Cancelled)));
        assert!(matches!(file(&job(Phase::Failed, &files), "glb", 0), Err(ResultError::Failed(_))));
    }
}
