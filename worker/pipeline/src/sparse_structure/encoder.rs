//! The encoder of the sparse-structure VAE: an occupancy grid to a latent one.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::conv::{Conv3d, Norm, ResBlock, arranged};
use super::levels::{Block, LevelsConfig, through};
use crate::Result;
use crate::weights::{Checkpoint, Placement, Weights};

/// Constructor arguments of the reference's `SparseStructureEncoder`.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    in_channels: i64,
    #[serde(flatten)]
    levels: LevelsConfig,
}

/// Convolution, levels of residual blocks of which each but the last halves the grid, then residual blocks.
#[derive(Debug)]
pub struct SparseStructureEncoder {
    torso: Kind,
    input: Conv3d,
    blocks: Vec<Block<Conv3d>>,
    middle: Vec<ResBlock>,
    output_norm: Norm,
    output: Conv3d,
}

impl SparseStructureEncoder {
    /// Loads the encoder.
    ///
    /// # Errors
    /// When the checkpoint is not a `SparseStructureEncoder` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: Config = checkpoint.config("SparseStructureEncoder")?;
        let (first, last) = config.levels.ends(checkpoint)?;
        checkpoint.build(placement, |weights| Self::new(&config, first, last, weights))
    }

    fn new(config: &Config, first: i64, last: i64, weights: &Weights) -> Result<Self> {
        let (torso, output, levels) = (weights.torso(), weights.at("out_layer"), &config.levels);
        let halve = |place: &Weights, channels, next| Conv3d::halving(&place.at("conv"), channels, next);
        Ok(Self {
            torso: torso.kind(),
            input: Conv3d::load(&weights.at("input_layer"), config.in_channels, first)?,
            blocks: levels.blocks(&torso.at("blocks"), halve)?,
            middle: levels.middle(&torso.at("middle_block"), last)?,
            output_norm: levels.output_norm(&output.at(0), last)?,
            output: Conv3d::load(&output.at(2), last, 2 * levels.latent_channels)?,
        })
    }

    /// Occupancy `[B, 1, s, s, s]` in f32, 0 or 1, to mean and logarithm of the variance of its latent, each
    /// `[B, latent channels, r, r, r]`, r = s / 2^(levels - 1). The mean is what the reference takes for the latent.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, occupancy: &Tensor) -> Result<(Tensor, Tensor)> {
        let h = arranged(&self.input.forward(occupancy)?.f_to_kind(self.torso)?)?;
        let h = through(&self.blocks, h, Conv3d::forward)?;
        let h = self.middle.iter().try_fold(h, |h, block| block.forward(&h))?;
        let h = h.f_to_kind(occupancy.f_kind()?)?;
        let both = self.output.forward(&self.output_norm.forward_silu(&h)?)?;
        let half = both.size5()?.1 / 2;
        Ok((both.f_narrow(1, 0, half)?, both.f_narrow(1, half, half)?))
    }
}
