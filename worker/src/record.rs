//! Keeps the job as it was at the end of an attempt, so that it can be answered for when the object is gone.
//!
//! A record lies beside the files of its attempt, and a copy in the archive, where it is found by the job's name.

use std::time::Duration;

use kube::ResourceExt;
use tokio::time::timeout;
use trellis_crds::{GenerationJob, MANIFEST};
use trellis_storage::{Error, ObjectUri, Storage};
use trellis_worker_core::{Failure, chain};

use crate::upload::{File, Folder};

/// How long the copy in the archive may take. The files are stored by then: nobody is to wait long for what only helps later.
const PATIENCE: Duration = Duration::from_secs(3);

/// The record as a file beside those of the attempt.
pub(crate) fn manifest(job: &GenerationJob) -> Result<File, Failure> {
    let content = text(job).map_err(|error| Failure::internal(&error))?;
    Ok(File { name: MANIFEST.into(), format: "json", content: content.into() })
}

/// Stores the record of a failed attempt in the attempt's folder, where that can be done.
pub(crate) async fn store_failure(storage: &Storage, output_uri: &ObjectUri, job: &GenerationJob) {
    let Some(assignment) = job.assignment() else { return };
    let stored = async {
        let folder = Folder::of(job, assignment.attempt, output_uri)?;
        folder.store(storage, vec![manifest(job)?]).await
    };
    if let Err(failure) = stored.await {
        tracing::warn!(reason = failure.message, "there is no record of the failed attempt in its folder");
    }
}

/// Stores the record in the archive, in place of that of an earlier attempt. Without it the API does not know the job once the object
/// is gone, which is no reason to make the asset again.
pub(crate) async fn archive(storage: &Storage, output_uri: &ObjectUri, job: &GenerationJob) {
    let reason = match timeout(PATIENCE, put(storage, output_uri, job)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("the storage did not answer within {PATIENCE:?}"),
    };
    tracing::warn!(reason, "there is no record of the attempt in the archive");
}

async fn put(storage: &Storage, output_uri: &ObjectUri, job: &GenerationJob) -> Result<(), ArchiveError> {
    let namespace = job.namespace().unwrap_or_default();
    let path = GenerationJob::archive_path(&namespace, &job.name_any()).ok_or(ArchiveError::Name)?;
    let uri = output_uri.join(&path)?;
    storage.put(&uri, text(job)?.into(), trellis_crds::media_type("json")).await?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("the job's name is none that an object can have")]
    Name,
    #[error(transparent)]
    Text(#[from] serde_json::Error),
    #[error(transparent)]
    Storage(#[from] Error),
}

fn text(job: &GenerationJob) -> serde_json::Result<Vec<u8>> {
    let mut job = job.clone();
    job.metadata.managed_fields = None;
    serde_json::to_vec_pretty(&job)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> GenerationJob {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {"name": "cup", "namespace": "shop", "uid": "u"},
            "spec": {"input": {"text": {"prompt": "a cup"}}},
            "status": {"assignment": {
                "pool": "text", "worker": "a", "podUid": "p", "attempt": 2, "time": "2026-01-01T00:00:00.000000Z",
            }},
        }))
        .unwrap()
    }

    fn storage(root: &std::path::Path) -> (Storage, ObjectUri) {
        let settings = trellis_storage::Settings { emulator_host: None, file_roots: vec![root.into()] };
        (Storage::new(settings), format!("file://{}", root.display()).parse().unwrap())
    }

    #[tokio::test]
    async fn a_failed_attempt_is_on_record_in_its_folder_and_in_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, output_uri) = storage(folder.path());
        store_failure(&storage, &output_uri, &job()).await;
        archive(&storage, &output_uri, &job()).await;
        for path in ["shop/u/2/manifest.json", "archive/shop/cup.json"] {
            let record = std::fs::read(folder.path().join(path)).unwrap();
            let record: GenerationJob = serde_json::from_slice(&record).unwrap();
            assert_eq!((record.uid(), record.spec), (Some("u".into()), job().spec), "{path}");
        }
    }

    #[tokio::test]
    async fn a_destination_that_is_none_leaves_the_record_in_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, output_uri) = storage(folder.path());
        let mut job = job();
        job.spec.output.destination = Some("s3://bucket".into());
        store_failure(&storage, &output_uri, &job).await;
        archive(&storage, &output_uri, &job).await;
        assert!(folder.path().join("archive/shop/cup.json").exists());
        assert!(!folder.path().join("shop").exists());
    }
}
