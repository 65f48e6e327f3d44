//! A folder of models in the released layout: `pipeline.json`, and `ckpts/<name>.json` beside `.safetensors`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::dinov2::DinoV2;
use crate::sampler::Sampling;
use crate::slat::{MeshDecoder, SlatFlow};
use crate::sparse_structure::{SparseStructureDecoder, SparseStructureFlow};
use crate::weights::{Checkpoint, Placement};
use crate::{Error, Result};

const CLASS: &str = "TrellisImageTo3DPipeline";

/// The models of the image pipeline that this program runs, by their names in `pipeline.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Image to condition: DINOv2.
    ImageEncoder,
    /// Noise to the latent of the sparse structure.
    SparseStructureFlow,
    /// That latent to active voxels.
    SparseStructureDecoder,
    /// Noise on the voxels to structured latents.
    SlatFlow,
    /// Structured latents to a mesh.
    MeshDecoder,
}

impl Role {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 5] = [
        Self::ImageEncoder,
        Self::SparseStructureFlow,
        Self::SparseStructureDecoder,
        Self::SlatFlow,
        Self::MeshDecoder,
    ];

    /// The name in `pipeline.json`.
    pub fn key(self) -> &'static str {
        match self {
            Self::ImageEncoder => "image_cond_model",
            Self::SparseStructureFlow => "sparse_structure_flow_model",
            Self::SparseStructureDecoder => "sparse_structure_decoder",
            Self::SlatFlow => "slat_flow_model",
            Self::MeshDecoder => "slat_decoder_mesh",
        }
    }
}

/// The model folder's description, checked.
#[derive(Debug)]
pub struct ModelFolder {
    root: PathBuf,
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
    image_cond_model: String,
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
    /// When there is none, or it describes no image-to-3D pipeline.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join("pipeline.json");
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::model(
                root,
                "is no model folder: it has no pipeline.json; name a folder as TRELLIS releases it",
            ),
            _ => Error::Io { path: path.clone(), source: error },
        })?;
        let refuse = |message: String| Error::model(&path, message);
        let description: Description = serde_json::from_str(&text)
            .map_err(|error| refuse(format!("no pipeline description: {error}")))?;
        if description.name != CLASS {
            return Err(refuse(format!("describes a {}; this program runs a {CLASS}", description.name)));
        }
        let arguments =
            Arguments::deserialize(description.args).map_err(|error| refuse(format!("args: {error}")))?;
        Ok(Self { root: root.to_owned(), arguments })
    }

    /// Where the folder lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The pair of files of a model.
    ///
    /// # Errors
    /// When `pipeline.json` names no such model or its files are not there.
    pub fn checkpoint(&self, role: Role) -> Result<Checkpoint> {
        let path = match role {
            // The reference fetches it from torch hub; here it lies with the others.
            Role::ImageEncoder => format!("ckpts/{}", self.arguments.image_cond_model),
            _ => self.arguments.models.get(role.key()).cloned().ok_or_else(|| {
                Error::model(self.root.join("pipeline.json"), format!("names no {}", role.key()))
            })?,
        };
        Checkpoint::open(&self.root.join(path))
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
            Role::SparseStructureFlow => SparseStructureFlow::load(&checkpoint, placement).map(drop),
            Role::SparseStructureDecoder => SparseStructureDecoder::load(&checkpoint, placement).map(drop),
            Role::SlatFlow => SlatFlow::load(&checkpoint, placement).map(drop),
            Role::MeshDecoder => MeshDecoder::load(&checkpoint, placement).map(drop),
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
        let message = format!("slat_normalization must hold {channels} numbers each for mean and std");
        Err(Error::model(self.root.join("pipeline.json"), message))
    }

    /// How structured latents are normalised.
    pub fn slat_normalization(&self) -> &Normalization {
        &self.arguments.slat_normalization
    }
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
    fn a_folder_that_is_no_image_model_is_told_apart_from_a_damaged_one() {
        let text = refusal(r#"{"name": "TrellisTextTo3DPipeline", "args": {}}"#);
        assert!(
            text.ends_with(
                "describes a TrellisTextTo3DPipeline; this program runs a TrellisImageTo3DPipeline"
            ),
            "{text}"
        );
        let empty = refusal(r#"{"name": "TrellisImageTo3DPipeline", "args": {}}"#);
        assert!(empty.contains("pipeline.json: args: missing field `models`"), "{empty}");
        let cut_off = refusal(r#"{"name": "Trellis"#);
        assert!(cut_off.contains("pipeline.json: no pipeline description: EOF"), "{cut_off}");
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
