//! How the model samples.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A preset for what a job does not say itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// For a first look.
    Fast,
    /// The model's published settings.
    #[default]
    Balanced,
    /// For final assets.
    High,
}

impl Quality {
    /// Sampling steps of each of the two stages where the job says none.
    pub fn steps(self) -> i32 {
        match self {
            Quality::Fast => 12,
            Quality::Balanced => 25,
            Quality::High => 50,
        }
    }

    /// The texture's edge in pixels where the job says none.
    pub fn texture_size(self) -> i32 {
        match self {
            Quality::Fast | Quality::Balanced => 1024,
            Quality::High => 2048,
        }
    }
}

/// How the model samples.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sampling {
    /// The seed of the noise, 0 to 4294967295. The same seed with the same input and settings gives the same files, byte
    /// for byte, on the same kind of device. Drawn at random where left out; `status.seed` says which one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub seed: Option<i64>,

    /// How many different assets to make of the input, 1 to 4 (default 1). Time grows with it. The files of
    /// several are numbered, like `model-0.glb`.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4))]
    pub samples: i32,

    /// The first stage, which decides the coarse shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse_structure: Option<StageSampling>,

    /// The second stage, which decides fine shape and surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_latent: Option<StageSampling>,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { seed: None, samples: one(), sparse_structure: None, structured_latent: None }
    }
}

fn one() -> i32 {
    1
}

/// How one stage of the model samples.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageSampling {
    /// Sampling steps, 1 to 200. By `spec.quality` where left out: 12, 25 or 50. Time grows with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub steps: Option<i32>,

    /// Strength of the classifier-free guidance, 0 to 20: how closely the asset follows the input. The model's own
    /// (`pipeline.json`) where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub cfg_strength: Option<f64>,
}
