//! The Cloud Storage emulator in the cluster, and what it must hold before a worker starts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use trellis_storage::{ObjectUri, Settings, Storage};

/// The emulator's one bucket.
pub(super) const BUCKET: &str = "trellis";
/// Where the small models lie in it.
const MODELS: &str = "models/trellis";

/// A storage that talks to the emulator at `address`.
pub(super) fn connect(address: &str) -> Storage {
    Storage::new(Settings { emulator_host: Some(format!("http://{address}")), ..Settings::default() })
}

/// The address of a small model: `image`, or `text`, which takes its decoders from it.
pub(super) fn model_uri(name: &str) -> String {
    format!("gs://{BUCKET}/{MODELS}/{name}")
}

/// Creates the bucket and uploads the small models.
pub(super) async fn fill(address: &str) -> Result<()> {
    create_bucket(address).await?;
    let storage = connect(address);
    upload(&storage, &trellis_fixtures::image_model(), "image").await?;
    let text = tempfile::tempdir()?;
    trellis_fixtures::write_text_model(text.path(), "trellis/image")?;
    upload(&storage, text.path(), "text").await
}

/// Uploads a model, `pipeline.json` last: a worker that sees it finds the rest.
async fn upload(storage: &Storage, folder: &Path, name: &str) -> Result<()> {
    let mut files = files_under(folder)?;
    files.sort_by_key(|file| file.ends_with("pipeline.json"));
    for file in files {
        let uri: ObjectUri =
            format!("{}/{}", model_uri(name), file.strip_prefix(folder)?.display()).parse()?;
        let content =
            tokio::fs::read(&file).await.with_context(|| format!("cannot read {}", file.display()))?;
        storage.put(&uri, content.into(), "application/octet-stream").await?;
    }
    Ok(())
}

async fn create_bucket(address: &str) -> Result<()> {
    let response = reqwest::Client::new()
        .post(format!("http://{address}/storage/v1/b?project=local"))
        .json(&serde_json::json!({ "name": BUCKET }))
        .send()
        .await
        .context("cannot reach the Cloud Storage emulator")?;
    // 409: it is there from the last time.
    if !response.status().is_success() && response.status() != reqwest::StatusCode::CONFLICT {
        bail!("the Cloud Storage emulator did not create the bucket {BUCKET}: {}", response.status());
    }
    Ok(())
}

fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_under(&path)?) } else { files.push(path) }
    }
    Ok(files)
}
