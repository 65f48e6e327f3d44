//! Brings the model to this node.

use std::fs::File;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::fs;
use tokio::task::spawn_blocking;
use trellis::pipeline::{INDEX, ModelFolder, Part, Place};
use trellis::weights::EXTENSIONS;
use trellis_storage::{Error as StorageError, ObjectUri, Storage, Stored};

/// How many parts of a model are downloaded at a time.
const PARALLEL: usize = 4;

/// Why the model cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelFolderError {
    /// The store does not give a file.
    #[error("the model cannot be downloaded")]
    Storage(#[from] StorageError),
    /// `pipeline.json` describes no model that this program runs.
    #[error("{uri} is not the index of a TRELLIS model")]
    Index { uri: ObjectUri, source: trellis::Error },
    /// The cache cannot be held against the other workers that share it.
    #[error("{} cannot be made or locked; let the worker's user write to its folder", path.display())]
    Lock { path: PathBuf, source: io::Error },
    /// A part of the model is nowhere.
    #[error(
        "{uri} names the {role}, which is at none of {}; put it at one of them and let the workers' account read it",
        list(tried)
    )]
    Missing { uri: ObjectUri, role: &'static str, tried: Vec<ObjectUri> },
}

fn list(uris: &[ObjectUri]) -> String {
    uris.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The local folder with the model of `uri`: a `file://` folder itself, or a copy in `cache`.
pub(crate) async fn local(
    storage: &Storage,
    uri: &ObjectUri,
    cache: &Path,
) -> Result<PathBuf, ModelFolderError> {
    if let Some(path) = uri.file_path() {
        return Ok(path.into());
    }
    let folder = cache.join(&Stored::of(uri.to_string().as_bytes()).sha256[..16]);
    let files = copy_alone(storage, uri, &folder).await?;
    tracing::info!(%uri, files, "the model is here; so many of its files were not yet");
    Ok(folder)
}

/// Copies the model unless another worker that shares the cache does so at present: then waits for that one, whose files it finds.
/// Says how many files it brought. A worker that dies holds no lock.
async fn copy_alone(storage: &Storage, uri: &ObjectUri, folder: &Path) -> Result<usize, ModelFolderError> {
    let path = folder.with_extension("lock");
    let failed = |source| ModelFolderError::Lock { path: path.clone(), source };
    let to_lock = path.clone();
    let locked = spawn_blocking(move || lock(&to_lock)).await.map_err(io::Error::other).and_then(|lock| lock);
    let _lock = locked.map_err(failed)?;
    copy(storage, uri, folder).await
}

/// The file, locked for as long as it is open.
fn lock(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = File::create(path)?;
    match file.lock() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::warn!(path = %path.display(), "this volume has no locks: workers that share it may download a model twice");
        }
        locked => locked?,
    }
    Ok(file)
}

/// Copies the model of `uri` into `folder`, and what it takes from other models: the copy needs none beside it.
///
/// Files that are there already in the size that the store names are not downloaded again; the index always is. Says how many the others
/// were.
async fn copy(storage: &Storage, uri: &ObjectUri, folder: &Path) -> Result<usize, ModelFolderError> {
    let index = uri.join(INDEX)?;
    storage.download(&index, &folder.join(INDEX)).await?;
    let model =
        ModelFolder::open(folder).map_err(|source| ModelFolderError::Index { uri: index.clone(), source })?;
    let brought = stream::iter(model.parts())
        .map(|part| bring_part(storage, uri, part, folder))
        .buffer_unordered(PARALLEL)
        .try_fold(0, async |sum, files| Ok(sum + files))
        .await?;
    for name in model.background_networks() {
        let network = uri.join(name)?;
        if exists(storage, &network).await? {
            return Ok(brought + usize::from(bring(storage, &network, &folder.join(name)).await?));
        }
    }
    Ok(brought)
}

/// Brings the two files of a part from the first of its places that has it. Says how many were not here yet.
async fn bring_part(
    storage: &Storage,
    uri: &ObjectUri,
    part: Part,
    folder: &Path,
) -> Result<usize, ModelFolderError> {
    let mut tried = Vec::new();
    for place in part.places() {
        let Some(above) = folder_of(uri, &place) else { continue };
        let [first, second] = EXTENSIONS.map(|extension| above.join(&format!("{}.{extension}", place.path)));
        let from = [first?, second?];
        if exists(storage, &from[0]).await? {
            let mut brought = 0;
            for (from, extension) in from.iter().zip(EXTENSIONS) {
                let to = folder.join(format!("{}.{extension}", part.path()));
                brought += usize::from(bring(storage, from, &to).await?);
            }
            return Ok(brought);
        }
        tried.extend(from.into_iter().next());
    }
    Err(ModelFolderError::Missing { uri: uri.join(INDEX)?, role: part.role.key(), tried })
}

/// The folder that a place counts from. `None`: the store has not so many above the model.
fn folder_of(model: &ObjectUri, place: &Place) -> Option<ObjectUri> {
    iter::successors(Some(model.clone()), ObjectUri::parent).nth(place.above)
}

async fn exists(storage: &Storage, uri: &ObjectUri) -> Result<bool, StorageError> {
    match storage.open(uri).await {
        Ok(_) => Ok(true),
        // Whoever may read objects but not list them is denied those that are not there.
        Err(StorageError::NotFound { .. } | StorageError::Denied { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Brings a file, and says whether it was not here yet.
async fn bring(storage: &Storage, from: &ObjectUri, to: &Path) -> Result<bool, StorageError> {
    let size = storage.open(from).await?.size;
    if fs::metadata(to).await.is_ok_and(|there| there.len() == size) {
        return Ok(false);
    }
    let stored = storage.download(from, to).await?;
    tracing::info!(%from, bytes = stored.bytes, sha256 = stored.sha256, "model file downloaded");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use trellis_fixtures::Models;

    use super::*;

    /// The store of a folder of models, and the address of one of them.
    fn store(models: &Models, model: &Path) -> (Storage, ObjectUri) {
        let settings = trellis_storage::Settings {
            file_roots: vec![models.root().to_owned()],
            ..trellis_storage::Settings::default()
        };
        (Storage::new(settings), format!("file://{}", model.display()).parse().unwrap())
    }

    /// Every part of the model in `folder` has all its tensors.
    fn assert_whole(folder: &Path) {
        let model = ModelFolder::open(folder).unwrap();
        for part in model.parts() {
            model.check(part.role).unwrap();
        }
    }

    #[tokio::test]
    async fn a_copy_of_a_model_is_whole_without_the_models_beside_it() {
        let models = Models::new().unwrap();
        for (model, parts) in [(models.image(), 7), (models.text(), 7)] {
            let copied = tempfile::tempdir().unwrap();
            let (storage, uri) = store(&models, &model);
            copy(&storage, &uri, copied.path()).await.unwrap();
            assert_eq!(ModelFolder::open(copied.path()).unwrap().parts().count(), parts);
            assert_whole(copied.path());
        }
    }

    #[tokio::test]
    async fn only_image_models_bring_a_network_for_backgrounds_and_the_first_choice_alone() {
        let models = Models::new().unwrap();
        for model in [models.image(), models.text()] {
            for network in ["birefnet-dis.onnx", "isnet-general-use.onnx"] {
                fs::write(model.join(network), network).unwrap();
            }
        }
        for (model, expected) in [(models.image(), vec!["isnet-general-use.onnx"]), (models.text(), vec![])] {
            let copied = tempfile::tempdir().unwrap();
            let (storage, uri) = store(&models, &model);
            copy(&storage, &uri, copied.path()).await.unwrap();
            let names = fs::read_dir(copied.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let networks: Vec<_> = names
                .filter_map(|name| name.into_string().ok())
                .filter(|name| name.contains("onnx"))
                .collect();
            assert_eq!(networks, expected);
        }
    }

    /// What [`two_workers_on_a_node_download_a_model_once`] runs in processes of their own: copies the model of the folder
    /// `TEST_MODEL` to `TEST_FOLDER`.
    #[tokio::test]
    #[ignore = "a part of another test"]
    async fn copy_in_a_process() {
        let [root, model, folder] = ["TEST_ROOT", "TEST_MODEL", "TEST_FOLDER"]
            .map(|name| PathBuf::from(std::env::var_os(name).unwrap()));
        let settings =
            trellis_storage::Settings { file_roots: vec![root], ..trellis_storage::Settings::default() };
        let uri = format!("file://{}", model.display()).parse().unwrap();
        let brought = copy_alone(&Storage::new(settings), &uri, &folder).await.unwrap();
        println!("brought {brought} files");
    }

    #[test]
    fn two_workers_on_a_node_download_a_model_once() {
        let models = Models::new().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("model");
        let worker = || {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "model_folder::tests::copy_in_a_process", "--ignored", "--nocapture"])
                .env("TEST_ROOT", models.root())
                .env("TEST_MODEL", models.image())
                .env("TEST_FOLDER", &folder)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        };
        let brought = [worker(), worker()].map(|worker| {
            let output = String::from_utf8(worker.wait_with_output().unwrap().stdout).unwrap();
            let count = output.lines().find_map(|line| line.split_once("brought ")).expect(&output).1;
            count.strip_suffix(" files").unwrap().parse::<usize>().unwrap()
        });
        let parts = ModelFolder::open(&folder).unwrap().parts().count();
        assert_eq!(brought.iter().max(), Some(&(2 * parts)), "{brought:?}");
        assert_eq!(brought.iter().min(), Some(&0), "{brought:?}");
        assert_whole(&folder);
    }

    #[tokio::test]
    async fn a_second_start_brings_only_what_has_changed() {
        let models = Models::new().unwrap();
        let copied = tempfile::tempdir().unwrap();
        let (storage, uri) = store(&models, &models.text());
        copy(&storage, &uri, copied.path()).await.unwrap();
        let [kept, cut_off] = ["slat_flow_tiny", "ss_flow_tiny"]
            .map(|name| copied.path().join("ckpts").join(name).with_extension("safetensors"));
        let time = |file: &Path| fs::metadata(file).unwrap().modified().unwrap();
        let before = time(&kept);
        fs::write(&cut_off, "cut off").unwrap();
        assert_eq!(copy(&storage, &uri, copied.path()).await.unwrap(), 1);
        assert_eq!(time(&kept), before);
        assert_whole(copied.path());
    }

    #[tokio::test]
    async fn a_part_that_is_nowhere_is_named_with_the_places_where_it_may_lie() {
        let models = Models::new().unwrap();
        fs::remove_file(models.image().join("ckpts/slat_dec_mesh_tiny.json")).unwrap();
        let copied = tempfile::tempdir().unwrap();
        let (storage, uri) = store(&models, &models.text());
        let error = copy(&storage, &uri, copied.path()).await.unwrap_err().to_string();
        for said in [
            "TRELLIS-text/pipeline.json names the slat_decoder_mesh",
            "owner/TRELLIS-text/owner/TRELLIS-image/ckpts/slat_dec_mesh_tiny.json, file://",
            "owner/TRELLIS-image/ckpts/slat_dec_mesh_tiny.json",
        ] {
            assert!(error.contains(said), "{said}: {error}");
        }
    }

    #[tokio::test]
    async fn an_index_of_something_else_is_named() {
        let models = Models::new().unwrap();
        fs::write(models.image().join(INDEX), r#"{"name": "TrellisVideoTo3DPipeline", "args": {}}"#).unwrap();
        let copied = tempfile::tempdir().unwrap();
        let (storage, uri) = store(&models, &models.image());
        let error = copy(&storage, &uri, copied.path()).await.unwrap_err();
        assert!(
            matches!(&error, ModelFolderError::Index { uri, .. } if uri.to_string().ends_with(INDEX)),
            "{error:?}"
        );
    }
}
