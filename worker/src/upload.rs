//! Stores what an attempt made.

use bytes::Bytes;
use futures::future::try_join_all;
use trellis_crds::{GenerationJob, OutputFile};
use trellis_storage::{Error, ObjectUri, Storage};
use trellis_worker_core::Failure;

use crate::failure::{NamedBy, of_storage};

/// A file to store.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    /// As `status.outputs` names it: an output format, `png` or `json`.
    pub(crate) format: &'static str,
    pub(crate) content: Bytes,
}

/// The folder of one attempt, and who named the place that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(crate) uri: ObjectUri,
    named_by: NamedBy,
}

impl Folder {
    /// `<destination>/<namespace>/<job uid>/<attempt>`, where the installation's destination is `default`.
    pub(crate) fn of(job: &GenerationJob, attempt: i32, default: &ObjectUri) -> Result<Self, Failure> {
        let (destination, named_by) = match &job.spec.output.destination {
            Some(destination) => (destination.parse(), NamedBy::Job),
            None => (Ok(default.clone()), NamedBy::Installation),
        };
        let uri = destination
            .and_then(|uri: ObjectUri| uri.join(&job.folder_of_attempt(attempt)))
            .map_err(|error| of_storage(&error, named_by))?;
        Ok(Self { uri, named_by })
    }

    /// Stores `files`, all at a time.
    pub(crate) async fn store(
        &self,
        storage: &Storage,
        files: Vec<File>,
    ) -> Result<Vec<OutputFile>, Failure> {
        try_join_all(files.into_iter().map(|file| self.store_one(storage, file)))
            .await
            .map_err(|error| of_storage(&error, self.named_by))
    }

    async fn store_one(&self, storage: &Storage, file: File) -> Result<OutputFile, Error> {
        let uri = self.uri.join(&file.name)?;
        let stored = storage.put(&uri, file.content, trellis_crds::media_type(file.format)).await?;
        Ok(OutputFile {
            format: file.format.into(),
            uri: uri.to_string(),
            bytes: i64::try_from(stored.bytes).unwrap_or(i64::MAX),
            sha256: stored.sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use trellis_crds::{FailureReason, GenerationJobSpec};

    use super::*;

    fn job() -> GenerationJob {
        let mut job = GenerationJob::new("cup", GenerationJobSpec::default());
        job.metadata.namespace = Some("shop".into());
        job.metadata.uid = Some("a".into());
        job
    }

    #[test]
    fn each_attempt_has_a_folder_of_its_own() {
        let default: ObjectUri = "gs://assets/out".parse().unwrap();
        let mut job = job();
        assert_eq!(Folder::of(&job, 1, &default).unwrap().uri.to_string(), "gs://assets/out/shop/a/1");
        assert_eq!(Folder::of(&job, 2, &default).unwrap().uri.to_string(), "gs://assets/out/shop/a/2");
        job.spec.output.destination = Some("file:///mine/".into());
        assert_eq!(Folder::of(&job, 1, &default).unwrap().uri.to_string(), "file:///mine/shop/a/1");
    }

    #[test]
    fn a_destination_that_is_none_is_the_jobs_fault() {
        let default: ObjectUri = "gs://assets".parse().unwrap();
        let mut job = job();
        job.spec.output.destination = Some("s3://bucket".into());
        assert_eq!(Folder::of(&job, 1, &default).unwrap_err().reason, FailureReason::InvalidInput);
    }
}
