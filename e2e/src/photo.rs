//! The example photo, and jobs that make an asset of it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use trellis_crds::{
    ConfigMapKeyRef, GenerationJob, GenerationJobSpec, ImageInput, Input, Sampling, Source, StageSampling,
};

use crate::{Namespace, paths};

/// The key under which a ConfigMap holds a picture.
const KEY: &str = "photo.png";
/// The ConfigMap with the example photo.
const PHOTO: &str = "photo";

/// The file of the example photo.
pub fn photo_file() -> PathBuf {
    paths::source().join("examples/photo").join(KEY)
}

/// Puts the example photo where [`photo_job`] looks for it.
///
/// # Errors
/// Fails when the photo is not there or the API server refuses it.
pub async fn provide_photo(namespace: &Namespace) -> Result<()> {
    let file = photo_file();
    let photo = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    provide_picture(namespace, PHOTO, photo).await
}

/// Puts a file, picture or not, where [`picture_job`] looks for it.
///
/// # Errors
/// Fails when the API server refuses it.
pub async fn provide_picture(namespace: &Namespace, name: &str, content: Vec<u8>) -> Result<()> {
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        binary_data: Some([(KEY.to_owned(), ByteString(content))].into()),
        ..ConfigMap::default()
    };
    namespace.api::<ConfigMap>().create(&PostParams::default(), &map).await?;
    Ok(())
}

/// A job that makes an asset of the example photo, with so many steps in each of its two stages: 1 takes a second or two on a
/// CPU, and every further one some tenths more.
pub fn photo_job(name: &str, steps: i32) -> GenerationJob {
    picture_job(name, PHOTO, steps)
}

/// The same for the picture that [`provide_picture`] has put there.
pub fn picture_job(name: &str, picture: &str, steps: i32) -> GenerationJob {
    let key = ConfigMapKeyRef { name: picture.to_owned(), key: KEY.to_owned() };
    let source = Source { uri: None, config_map_key_ref: Some(key) };
    let image = ImageInput { sources: vec![source], ..ImageInput::default() };
    let stage = Some(StageSampling { steps: Some(steps), ..StageSampling::default() });
    let spec = GenerationJobSpec {
        input: Input { image: Some(image), ..Input::default() },
        sampling: Sampling {
            seed: Some(1),
            sparse_structure: stage.clone(),
            structured_latent: stage,
            ..Sampling::default()
        },
        ..GenerationJobSpec::default()
    };
    GenerationJob::new(name, spec)
}
