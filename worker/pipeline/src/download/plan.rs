//! Which files make up a model, and where each goes. No network here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::pipeline::{Borrowed, ModelFolder, Role};
use crate::weights::{EXTENSIONS, with_extension};
use crate::{Error, Result};

/// A repository of models, `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// Who publishes it.
    pub owner: String,
    /// What it is called.
    pub name: String,
}

impl Repository {
    fn new(owner: &str, name: &str) -> Self {
        Self { owner: owner.to_owned(), name: name.to_owned() }
    }

    /// Its folder below that of all models: there text models look for the decoders that they share with the image model.
    pub fn folder(&self, models: &Path) -> PathBuf {
        models.join(&self.owner).join(&self.name)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl FromStr for Repository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
        };
        match text.split_once('/') {
            Some((owner, name)) if plain(owner) && plain(name) => Ok(Self::new(owner, name)),
            _ => Err(Error::InvalidInput(format!(
                "{text:?} is no repository; write owner/name, like microsoft/TRELLIS-image-large"
            ))),
        }
    }
}

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) repository: Repository,
    /// Its path there.
    pub(super) file: String,
    /// Where it goes.
    pub(super) place: PathBuf,
}

/// The files of a model but for its index, whence and whither. `models` is the folder of all models.
///
/// # Errors
/// When nobody is known to publish an encoder.
pub(super) fn wanted(repository: &Repository, folder: &ModelFolder, models: &Path) -> Result<Vec<Wanted>> {
    let mut files = Vec::new();
    for part in folder.parts() {
        let here = folder.root().join(part.path());
        files.extend(match (part.role, part.borrowed()) {
            (Role::ImageEncoder, _) => published(&image_encoder(part.path())?, &here),
            (Role::TextEncoder, _) => published(&text_encoder(part.path())?, &here),
            (_, Some(Borrowed { owner, name, path })) => {
                let other = Repository::new(owner, name);
                pair(&other, path, &other.folder(models).join(path))
            }
            (_, None) => pair(repository, part.path(), &here),
        });
    }
    Ok(files)
}

/// The files of an encoder, which are called otherwise in its own repository than beside the other models.
fn published(repository: &Repository, place: &Path) -> [Wanted; 2] {
    let [description, tensors] = EXTENSIONS;
    [("config.json", description), ("model.safetensors", tensors)].map(|(file, extension)| Wanted {
        repository: repository.clone(),
        file: file.to_owned(),
        place: with_extension(place, extension),
    })
}

fn pair(repository: &Repository, path: &str, place: &Path) -> [Wanted; 2] {
    EXTENSIONS.map(|extension| Wanted {
        repository: repository.clone(),
        file: format!("{path}.{extension}"),
        place: with_extension(place, extension),
    })
}

/// The reference takes DINOv2 from torch hub; the same weights are published as safetensors here.
fn image_encoder(path: &str) -> Result<Repository> {
    let name = path.trim_start_matches("ckpts/");
    let published = match name {
        "dinov2_vits14_reg" => "dinov2-with-registers-small",
        "dinov2_vitb14_reg" => "dinov2-with-registers-base",
        "dinov2_vitl14_reg" => "dinov2-with-registers-large",
        _ => {
            return Err(Error::InvalidInput(format!(
                "pipeline.json names the image encoder {name}, of which no published file is known; \
                 put it at {path}.json and {path}.safetensors yourself"
            )));
        }
    };
    Ok(Repository::new("facebook", published))
}

/// Text encoders are named by their repository.
fn text_encoder(path: &str) -> Result<Repository> {
    path.trim_start_matches("ckpts/").parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(models: &Path, arguments: &str) -> ModelFolder {
        let root = models.join("microsoft/TRELLIS-x");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join("pipeline.json"), arguments).unwrap();
        ModelFolder::open(&root).unwrap()
    }

    fn description(class: &str, models: &str, encoder: &str) -> String {
        let sampler = r#"{"name": "FlowEulerSampler", "params": {"steps": 4}}"#;
        format!(
            r#"{{"name": "{class}", "args": {{"models": {{{models}}}, "sparse_structure_sampler": {sampler},
                "slat_sampler": {sampler}, "slat_normalization": {{"mean": [], "std": []}}, {encoder}}}}}"#
        )
    }

    #[test]
    fn a_text_models_decoders_come_from_the_image_model_and_go_beside_it() {
        let models = tempfile::tempdir().unwrap();
        let parts = r#""slat_flow_model": "ckpts/flow", "slat_decoder_mesh": "microsoft/TRELLIS-image-large/ckpts/mesh""#;
        let encoder = r#""text_cond_model": "openai/clip-vit-large-patch14""#;
        let folder = folder(models.path(), &description("TrellisTextTo3DPipeline", parts, encoder));
        let own = Repository::new("microsoft", "TRELLIS-x");
        let files = wanted(&own, &folder, models.path()).unwrap();
        let found: Vec<_> = files
            .iter()
            .map(|wanted| {
                let place = wanted.place.strip_prefix(models.path()).unwrap();
                format!("{}:{} {}", wanted.repository, wanted.file, place.display())
            })
            .collect();
        assert_eq!(
            found,
            [
                "openai/clip-vit-large-patch14:config.json microsoft/TRELLIS-x/ckpts/openai/clip-vit-large-patch14.json",
                "openai/clip-vit-large-patch14:model.safetensors microsoft/TRELLIS-x/ckpts/openai/clip-vit-large-patch14.safetensors",
                "microsoft/TRELLIS-x:ckpts/flow.json microsoft/TRELLIS-x/ckpts/flow.json",
                "microsoft/TRELLIS-x:ckpts/flow.safetensors microsoft/TRELLIS-x/ckpts/flow.safetensors",
                "microsoft/TRELLIS-image-large:ckpts/mesh.json microsoft/TRELLIS-image-large/ckpts/mesh.json",
                "microsoft/TRELLIS-image-large:ckpts/mesh.safetensors microsoft/TRELLIS-image-large/ckpts/mesh.safetensors",
            ]
        );
    }

    #[test]
    fn an_encoder_that_nobody_publishes_is_named_with_what_to_do() {
        let models = tempfile::tempdir().unwrap();
        let encoder = r#""image_cond_model": "my_encoder""#;
        let folder = folder(models.path(), &description("TrellisImageTo3DPipeline", "", encoder));
        let error = wanted(&Repository::new("a", "b"), &folder, models.path()).unwrap_err().to_string();
        assert!(error.contains("my_encoder") && error.contains("yourself"), "{error}");
    }

    #[test]
    fn names_that_would_leave_the_folder_are_no_repositories() {
        for text in ["", "a", "a/b/c", "../b", "a/..", "a/", "/b", "a/b c", "https://x/y"] {
            assert!(text.parse::<Repository>().is_err(), "{text:?}");
        }
        assert_eq!(
            "microsoft/TRELLIS-image-large".parse::<Repository>().unwrap().name,
            "TRELLIS-image-large"
        );
    }
}
