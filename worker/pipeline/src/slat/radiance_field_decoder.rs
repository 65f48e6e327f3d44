//! Structured latents to a radiance field.

use serde::Deserialize;
use tch::{Kind, Tensor};
use trellis_asset::RadianceField;
use trellis_asset::radiance_field::{RANK, SAMPLES};

use super::rows::rows;
use super::transformer::{SwinProjection, TransformerConfig};
use crate::Result;
use crate::sparse::SparseTensor;
use crate::weights::{Checkpoint, Placement};

/// Channels of a voxel: three vectors, a density and a colour for each component.
const CHANNELS: [i64; 3] = [(RANK * 3 * SAMPLES) as i64, RANK as i64, (RANK * 3) as i64];

/// Constructor arguments of the reference's `SLatRadianceFieldDecoder`.
#[derive(Debug, Clone, Deserialize)]
pub struct RadianceFieldDecoderConfig {
    /// Its transformer.
    #[serde(flatten)]
    pub transformer: TransformerConfig,
    /// Channels of a latent.
    pub latent_channels: i64,
    representation_config: Representation,
}

#[derive(Debug, Clone, Deserialize)]
struct Representation {
    rank: usize,
    dim: usize,
}

/// The model.
#[derive(Debug)]
pub struct RadianceFieldDecoder {
    resolution: u16,
    network: SwinProjection,
}

impl RadianceFieldDecoder {
    /// Loads the model.
    ///
    /// # Errors
    /// When the checkpoint is not an `SLatRadianceFieldDecoder` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: RadianceFieldDecoderConfig = checkpoint.config("SLatRadianceFieldDecoder")?;
        let Representation { rank, dim } = config.representation_config;
        let unlike = || format!("rank {rank} with dim {dim} is not supported, only {RANK} with {SAMPLES}");
        let objection =
            config.transformer.objection().or_else(|| ((rank, dim) != (RANK, SAMPLES)).then(unlike));
        if let Some(objection) = objection {
            return Err(checkpoint.refuse(objection));
        }
        let (inputs, outputs) = (config.latent_channels, CHANNELS.iter().sum());
        let network = checkpoint.build(placement, |weights| {
            SwinProjection::load(weights, &config.transformer, inputs, outputs)
        })?;
        Ok(Self { resolution: config.transformer.resolution, network })
    }

    /// The field of each sample of latents `[N, C]` in f32.
    ///
    /// # Errors
    /// As [`RadianceFieldDecoder::raw`].
    pub fn forward(&self, latents: &SparseTensor) -> Result<Vec<RadianceField>> {
        let samples = self.raw(latents)?.samples()?;
        samples.iter().map(|(positions, values)| self.field(positions, values)).collect()
    }

    /// The channels of each voxel, `[N, 448]` in f32.
    ///
    /// # Errors
    /// When the model's numbers overflow or libtorch fails.
    pub fn raw(&self, latents: &SparseTensor) -> Result<SparseTensor> {
        self.network.forward(latents)
    }

    fn field(&self, positions: &Tensor, values: &Tensor) -> Result<RadianceField> {
        let centres = positions.f_to_kind(Kind::Float)?.f_add_scalar(0.5)?;
        let parts = values.f_split_with_sizes(CHANNELS, 1)?;
        let [vectors, density, harmonics] = &parts[..] else { unreachable!("three sizes give three parts") };
        Ok(RadianceField {
            positions: rows(&centres.f_div_scalar(f64::from(self.resolution))?)?,
            // Trained as a difference from the constant field.
            vectors: rows(&vectors.f_add_scalar(1.0)?)?,
            density: rows(density)?,
            harmonics: rows(harmonics)?,
        })
    }
}
