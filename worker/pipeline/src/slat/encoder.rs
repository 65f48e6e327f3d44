//! Features of a surface to structured latents.

use serde::Deserialize;
use tch::Tensor;

use super::transformer::{SwinProjection, TransformerConfig};
use crate::Result;
use crate::sparse::SparseTensor;
use crate::weights::{Checkpoint, Placement};

/// Constructor arguments of the reference's `SLatEncoder`.
#[derive(Debug, Clone, Deserialize)]
pub struct SlatEncoderConfig {
    /// Its transformer.
    #[serde(flatten)]
    pub transformer: TransformerConfig,
    /// Channels of a feature.
    pub in_channels: i64,
    /// Channels of a latent.
    pub latent_channels: i64,
}

/// The encoder of the SLat VAE.
#[derive(Debug)]
pub struct SlatEncoder(SwinProjection);

impl SlatEncoder {
    /// Loads the encoder.
    ///
    /// # Errors
    /// When the checkpoint is not an `SLatEncoder` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: SlatEncoderConfig = checkpoint.config("SLatEncoder")?;
        if let Some(objection) = config.transformer.objection() {
            return Err(checkpoint.refuse(objection));
        }
        let (inputs, outputs) = (config.in_channels, 2 * config.latent_channels);
        checkpoint.build(placement, |weights| {
            SwinProjection::load(weights, &config.transformer, inputs, outputs).map(Self)
        })
    }

    /// Mean and logarithm of the variance of the latents of features `[N, C]`, each `[N, latent channels]`. The mean is
    /// what the reference takes for the latent.
    ///
    /// # Errors
    /// When the model's numbers overflow or libtorch fails.
    pub fn forward(&self, features: &SparseTensor) -> Result<(SparseTensor, Tensor)> {
        let both = self.0.forward(features)?;
        let [mean, log_variance] =
            [0, 1].map(|half| both.feats().f_chunk(2, 1).map(|mut parts| parts.swap_remove(half)));
        Ok((both.with(mean?)?, log_variance?))
    }
}
