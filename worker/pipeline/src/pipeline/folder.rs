//! A folder of models in the released layout: `pipeline.json`, and `ckpts/<name>.json` beside `.safetensors`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::IntoDeserializer;

use super::part::{Part, Place};
use super::role::{Modality, Role};
use crate::background::network_files;
use crate::clip::TextEncoder;
use crate::dinov2::DinoV2;
use crate::sampler::Sampling;
use crate::slat::{GaussianDecoder, MeshDecoder, RadianceFieldDecoder, SlatFlow};
use crate::sparse_structure::{SparseStructureDecoder, SparseStructureFlow};
use crate::weights::{Checkpoint, EXTENSIONS, Placement, with_extension};
use crate::{Error, Result};

/// The file of a model's folder that names all others.
pub const INDEX: &str = "pipeline.json";

/// The model folder's description, checked.
#[derive(Debug)]
pub struct ModelFolder {
    root: PathBuf,
    modality: Modality,
    arguments: Arguments,
}

#[derive(Debug, Deserialize)]
struct Description {
    name: String,
    args: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct Arguments {
    models: BTreeMap<String, String>,
    sparse_structure_sampler: Sampler,
    slat_sampler: Sampler,
    slat_normalization: Normalization,
    image_cond_model: Option<String>,
    text_cond_model: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Sampler {
    name: SamplerName,
    params: Sampling,
}

/// The three samplers differ in which parameters they take; [`Sampling`]'s defaults make up for it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "the reference's names")]
enum SamplerName {
    FlowEulerSampler,
    FlowEulerCfgSampler,
    FlowEulerGuidanceIntervalSampler,
}

impl Arguments {
    /// The path of a part, without extension. That of an encoder is made of its name: the reference fetches encoders from elsewhere, here they
    /// lie with the other parts.
    fn path(&self, role: Role) -> Option<String> {
        let encoder = |name: &Option<String>| name.as_ref().map(|name| format!("ckpts/{name}"));
        match role {
            Role::ImageEncoder => encoder(&self.image_cond_model),
            Role::TextEncoder => encoder(&self.text_cond_model),
            _ => self.models.get(role.key()).cloned(),
        }
    }

    fn paths(&self) -> impl Iterator<Item = String> {
        Role::ALL.into_iter().filter_map(|role| self.path(role))
    }
}

impl Sampler {
    fn sampling(&self) -> Sampling {
        match self.name {
            SamplerName::FlowEulerSampler => Sampling { cfg_strength: 0.0, ..self.params.clone() },
            SamplerName::FlowEulerCfgSampler => Sampling { cfg_interval: (0.0, 1.0), ..self.params.clone() },
            SamplerName::FlowEulerGuidanceIntervalSampler => self.params.clone(),
        }
    }
}

/// Mean and deviation of each channel of structured latents, which the flow samples normalised.
#[derive(Debug, Clone, Deserialize)]
pub struct Normalization {
    /// Per channel.
    pub mean: Vec<f32>,
    /// Per channel.
    pub std: Vec<f32>,
}

impl ModelFolder {
    /// Reads `pipeline.json` in `root`.
    ///
    /// # Errors
    /// When there is none, or it describes no pipeline that this program runs.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join(INDEX);
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Error::model(
                root,
                "is no model folder: it has no pipeline.json; name a folder as TRELLIS releases it",
            ),
            _ => Error::Io { path: path.clone(), source: error },
        })?;
        let refuse = |message: String| Error::model(&path, message);
        let description: Description = serde_json::from_str(&text)
            .map_err(|error| refuse(format!("no pipeline description: {error}")))?;
        let modality = Modality::deserialize(description.name.as_str().into_deserializer())
            .map_err(|error: serde_json::Error| refuse(error.to_string()))?;
        let arguments =
            Arguments::deserialize(description.args).map_err(|error| refuse(format!("args: {error}")))?;
        // Whoever wrote the index must not choose which files of a machine are read and written.
        if let Some(outside) = arguments.paths().find(|path| !is_below(path)) {
            return Err(refuse(format!("names {outside:?}, which is not below the folder of a model")));
        }
        Ok(Self { root: root.to_owned(), modality, arguments })
    }

    /// What the pipeline is conditioned by.
    pub fn modality(&self) -> Modality {
        self.modality
    }

    /// The models of this pipeline: those it must have, and the others that it names.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(|role| {
            role.serves(self.modality)
                && (!role.is_optional() || self.arguments.models.contains_key(role.key()))
        })
    }

    /// Where the folder lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A part of this model as `pipeline.json` names it, if it does.
    pub fn part(&self, role: Role) -> Option<Part> {
        Some(Part::new(role, self.arguments.path(role)?))
    }

    /// The parts of this model that `pipeline.json` names.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.roles().filter_map(|role| self.part(role))
    }

    /// The file names, the first choice first, under which the folder may hold a network that removes the backgrounds of images.
    pub fn background_networks(&self) -> impl Iterator<Item = &'static str> {
        network_files().filter(|_| self.modality == Modality::Image)
    }

    /// The pair of files of a part, where it lies: [`Part::places`] says where it is looked for.
    ///
    /// # Errors
    /// When `pipeline.json` names no such part or its files are not there.
    pub fn checkpoint(&self, role: Role) -> Result<Checkpoint> {
        let part = self.part(role).ok_or_else(|| self.refuse(format!("names no {}", role.key())))?;
        let stems: Vec<_> = part.places().iter().filter_map(|place| self.resolve(place)).collect();
        let found = stems.iter().find(|stem| with_extension(stem, EXTENSIONS[0]).is_file());
        match (found, &stems[..]) {
            (Some(stem), _) => Checkpoint::open(stem),
            (None, [_, beside, ..]) => Err(self.refuse(format!(
                "takes its {} from {}, which is not there; put that model beside this one, so that {}.json exists",
                role.key(),
                part.path(),
                beside.display()
            ))),
            (None, _) => Checkpoint::open(&self.root.join(part.path())),
        }
    }

    /// Where a place is on this machine. `None`: there are not so many folders above this one.
    fn resolve(&self, Place { above, path }: &Place) -> Option<PathBuf> {
        if *above == 0 {
            return Some(self.root.join(path));
        }
        // The parent of a relative path may be empty.
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        Some(root.ancestors().nth(*above)?.join(path))
    }

    /// An error about `pipeline.json`.
    fn refuse(&self, message: impl Into<String>) -> Error {
        Error::model(self.root.join(INDEX), message)
    }

    /// Checks that another folder's decoders are this one's.
    ///
    /// # Errors
    /// When one is not, or both folders take the same kind of input.
    pub(super) fn check_shares_decoders(&self, other: &Self) -> Result<()> {
        if self.modality == other.modality {
            let message = format!(
                "takes {} input as {} does; load one of them",
                self.modality.name(),
                self.root.display()
            );
            return Err(Error::model(&other.root, message));
        }
        let file = |folder: &Self, role| -> Result<PathBuf> {
            let path = folder.checkpoint(role)?.weights_path().to_owned();
            std::fs::canonicalize(&path).map_err(Error::io(path))
        };
        for role in other.roles().filter(|role| role.is_decoder()) {
            let (ours, theirs) = (file(self, role)?, file(other, role)?);
            if ours != theirs {
                let message = format!(
                    "has a {} of its own, {}, where {} is shared; load it by itself",
                    role.key(),
                    theirs.display(),
                    ours.display()
                );
                return Err(Error::model(&other.root, message));
            }
        }
        Ok(())
    }

    /// Checks a model's configuration, and names and shapes of its tensors, without reading these.
    ///
    /// # Errors
    /// What loading it would fail with.
    pub fn check(&self, role: Role) -> Result<()> {
        let checkpoint = self.checkpoint(role)?;
        let placement = Placement::unread();
        match role {
            Role::ImageEncoder => DinoV2::load(&checkpoint, placement).map(drop),
            Role::TextEncoder => TextEncoder::load(&checkpoint, placement).map(drop),
            Role::SparseStructureFlow => SparseStructureFlow::load(&checkpoint, placement).map(drop),
            Role::SparseStructureDecoder => SparseStructureDecoder::load(&checkpoint, placement).map(drop),
            Role::SlatFlow => SlatFlow::load(&checkpoint, placement).map(drop),
            Role::MeshDecoder => MeshDecoder::load(&checkpoint, placement).map(drop),
            Role::GaussianDecoder => GaussianDecoder::load(&checkpoint, placement).map(drop),
            Role::RadianceFieldDecoder => RadianceFieldDecoder::load(&checkpoint, placement).map(drop),
        }
    }

    /// The sparse structure's sampling, unless a request says otherwise.
    pub fn sparse_structure_sampling(&self) -> Sampling {
        self.arguments.sparse_structure_sampler.sampling()
    }

    /// The structured latents' sampling, unless a request says otherwise.
    pub fn slat_sampling(&self) -> Sampling {
        self.arguments.slat_sampler.sampling()
    }

    /// Whether the normalisation is one of latents with `channels` channels.
    pub(super) fn check_normalization(&self, channels: i64) -> Result<()> {
        let Normalization { mean, std } = self.slat_normalization();
        if [mean, std].iter().all(|values| values.len() as i64 == channels) {
            return Ok(());
        }
        Err(self.refuse(format!("slat_normalization must hold {channels} numbers each for mean and std")))
    }

    /// How structured latents are normalised.
    pub fn slat_normalization(&self) -> &Normalization {
        &self.arguments.slat_normalization
    }
}

/// Whether a path leads down from the folder it is in.
fn is_below(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(pipeline: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pipeline.json"), pipeline).unwrap();
        ModelFolder::open(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_that_is_no_model_of_ours_is_told_apart_from_a_damaged_one() {
        let video = refusal(r#"{"name": "TrellisVideoTo3DPipeline", "args": {}}"#);
        assert!(
            video.contains("unknown variant `TrellisVideoTo3DPipeline`, expected `TrellisImage"),
            "{video}"
        );
        let empty = refusal(r#"{"name": "TrellisImageTo3DPipeline", "args": {}}"#);
        assert!(empty.contains("pipeline.json: args: missing field `models`"), "{empty}");
        let cut_off = refusal(r#"{"name": "Trellis"#);
        assert!(cut_off.contains("pipeline.json: no pipeline description: EOF"), "{cut_off}");
    }

    /// `TRELLIS-text` in a new folder, with a decoder of `owner/TRELLIS-image`.
    fn text_model(parent: &Path) -> ModelFolder {
        let root = parent.join("TRELLIS-text");
        std::fs::create_dir_all(&root).unwrap();
        let sampler = r#"{"name": "FlowEulerSampler", "params": {"steps": 4}}"#;
        let text = format!(
            r#"{{"name": "TrellisTextTo3DPipeline", "args": {{
                "models": {{"slat_decoder_mesh": "owner/TRELLIS-image/ckpts/mesh.v1"}},
                "sparse_structure_sampler": {sampler}, "slat_sampler": {sampler},
                "slat_normalization": {{"mean": [], "std": []}}, "text_cond_model": "openai/clip"}}}}"#
        );
        std::fs::write(root.join("pipeline.json"), text).unwrap();
        ModelFolder::open(&root).unwrap()
    }

    #[test]
    fn a_path_of_another_model_is_found_within_beside_and_by_its_owner() {
        let models = tempfile::tempdir().unwrap();
        let (within, beside, by_owner) =
            ("us/TRELLIS-text/owner/TRELLIS-image", "us/TRELLIS-image", "owner/TRELLIS-image");
        let folder = text_model(&models.path().join("us"));
        let missing = folder.checkpoint(Role::MeshDecoder).unwrap_err().to_string();
        assert!(missing.contains("TRELLIS-image/ckpts/mesh.v1.json exists"), "{missing}");
        for place in [by_owner, beside, within] {
            let ckpts = models.path().join(place).join("ckpts");
            std::fs::create_dir_all(&ckpts).unwrap();
            std::fs::write(ckpts.join("mesh.v1.json"), r#"{"name": "SLatMeshDecoder", "args": {}}"#).unwrap();
            let checkpoint = folder.checkpoint(Role::MeshDecoder).unwrap();
            assert_eq!(checkpoint.weights_path(), ckpts.join("mesh.v1.safetensors"));
        }
        assert!(folder.roles().all(|role| role != Role::ImageEncoder && role != Role::GaussianDecoder));
    }

    #[test]
    fn an_index_that_leads_out_of_the_folder_is_refused() {
        let sampler = r#"{"name": "FlowEulerSampler", "params": {"steps": 4}}"#;
        let index = |flow: &str, encoder: &str| {
            format!(
                r#"{{"name": "TrellisTextTo3DPipeline", "args": {{"models": {{"slat_flow_model": "{flow}"}},
                    "sparse_structure_sampler": {sampler}, "slat_sampler": {sampler},
                    "slat_normalization": {{"mean": [], "std": []}}, "text_cond_model": "{encoder}"}}}}"#
            )
        };
        for path in ["../../flow", "/etc/flow", "ckpts/../../../flow", "owner/../../flow"] {
            let refusal = refusal(&index(path, "clip"));
            assert!(refusal.contains("pipeline.json") && refusal.contains("not below"), "{path}: {refusal}");
        }
        assert!(refusal(&index("ckpts/flow", "../clip")).contains("not below"));
    }

    #[test]
    fn the_sampler_that_is_named_decides_which_parameters_count() {
        let sampling = |name: &str| {
            let params = r#"{"steps": 4, "cfg_strength": 3.0, "cfg_interval": [0.5, 1.0], "rescale_t": 2.0}"#;
            let sampler: Sampler =
                serde_json::from_str(&format!(r#"{{"name": "{name}", "params": {params}}}"#)).unwrap();
            sampler.sampling()
        };
        assert!(!sampling("FlowEulerSampler").guides(0.7));
        assert!(sampling("FlowEulerCfgSampler").guides(0.2));
        assert!(!sampling("FlowEulerGuidanceIntervalSampler").guides(0.2));
    }
}
