//! Brings the model to this node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;
use trellis::pipeline::{Role, is_below};
use trellis_storage::{ObjectUri, Storage, Stored};

/// The file that names all others.
const INDEX: &str = "pipeline.json";
const LARGEST_INDEX: u64 = 1 << 20;
/// How many files are downloaded at a time.
const PARALLEL: usize = 4;

/// Why the model cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelFolderError {
    /// The store does not give a file.
    #[error("the model cannot be downloaded")]
    Storage(#[from] trellis_storage::Error),
    /// `pipeline.json` is not one.
    #[error("{uri} is not the index of a TRELLIS model")]
    Index { uri: ObjectUri, source: serde_json::Error },
    /// `pipeline.json` names a file outside the model's folder.
    #[error("{uri} names {name:?}, which is not below its own folder")]
    Outside { uri: ObjectUri, name: String },
}

/// The local folder with the model of `uri`: a `file://` folder itself, or a copy in `cache`.
///
/// Files that are there already in the size that the store names are not downloaded again.
pub(crate) async fn local(
    storage: &Storage,
    uri: &ObjectUri,
    cache: &Path,
) -> Result<PathBuf, ModelFolderError> {
    if let Some(path) = uri.file_path() {
        return Ok(path.into());
    }
    let folder = cache.join(&Stored::of(uri.to_string().as_bytes()).sha256[..16]);
    let index_uri = uri.join(INDEX)?;
    let index = storage.get(&index_uri, LARGEST_INDEX).await?;
    let mut names =
        named(&index).map_err(|source| ModelFolderError::Index { uri: index_uri.clone(), source })?;
    if let Some(name) = names.iter().find(|name| !is_below(name)) {
        return Err(ModelFolderError::Outside { uri: index_uri, name: name.clone() });
    }
    names.push(INDEX.into());
    stream::iter(names)
        .map(|name| bring(storage, uri, name, &folder))
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    bring_background_network(storage, uri, &folder).await?;
    Ok(folder)
}

/// Brings the network that removes backgrounds, if the store has one.
async fn bring_background_network(
    storage: &Storage,
    uri: &ObjectUri,
    folder: &Path,
) -> Result<(), ModelFolderError> {
    for name in trellis::background::network_files() {
        match bring(storage, uri, name.into(), folder).await {
            // Whoever may read objects but not list them is denied those that are not there.
            Err(ModelFolderError::Storage(
                trellis_storage::Error::NotFound { .. } | trellis_storage::Error::Denied { .. },
            )) => {}
            brought => return brought,
        }
    }
    Ok(())
}

async fn bring(
    storage: &Storage,
    uri: &ObjectUri,
    name: String,
    folder: &Path,
) -> Result<(), ModelFolderError> {
    let from = uri.join(&name)?;
    let to = folder.join(name);
    let size = storage.open(&from).await?.size;
    if tokio::fs::metadata(&to).await.is_ok_and(|there| there.len() == size) {
        return Ok(());
    }
    let stored = storage.download(&from, &to).await?;
    tracing::info!(%from, bytes = stored.bytes, sha256 = stored.sha256, "model file downloaded");
    Ok(())
}

#[derive(Deserialize)]
struct Index {
    args: Arguments,
}

#[derive(Deserialize)]
struct Arguments {
    models: BTreeMap<String, String>,
    image_cond_model: String,
}

/// The files that a `pipeline.json` names and the pipeline loads: each model is a configuration and its weights.
fn named(index: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let Arguments { models, image_cond_model } = serde_json::from_slice::<Index>(index)?.args;
    let stem = |role: Role| match role {
        Role::ImageEncoder => Some(format!("ckpts/{image_cond_model}")),
        Role::TextEncoder => None,
        _ => models.get(role.key()).cloned(),
    };
    let stems = Role::ALL.into_iter().filter_map(stem);
    Ok(stems.flat_map(|stem| [format!("{stem}.json"), format!("{stem}.safetensors")]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_names_the_files_that_the_pipeline_loads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipeline/tests/golden/15_end2end/model");
        let mut names = named(&std::fs::read(folder.join(INDEX)).unwrap()).unwrap();
        names.push(INDEX.into());
        for name in &names {
            assert!(folder.join(name).is_file(), "{name}");
        }
        let roles = Role::ALL.into_iter().filter(|role| *role != Role::TextEncoder);
        assert_eq!(names.len(), 2 * roles.count() + 1);
    }

    #[test]
    fn names_outside_the_folder_are_noticed() {
        assert!(is_below("ckpts/flow.json"));
        for name in ["../flow.json", "/etc/flow.json", "ckpts/../../flow.json"] {
            assert!(!is_below(name), "{name}");
        }
    }
}
