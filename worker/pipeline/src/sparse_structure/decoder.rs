//! The decoder of the sparse-structure VAE: a latent grid to occupancy logits.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::conv::{Conv3d, Norm, ResBlock, Upsample, arranged};
use super::levels::{Block, LevelsConfig, through};
use crate::Result;
use crate::weights::{Checkpoint, Placement, Weights};

/// Constructor arguments of the reference's `SparseStructureDecoder`.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    out_channels: i64,
    #[serde(flatten)]
    levels: LevelsConfig,
}

/// Convolution, residual blocks, then levels of residual blocks of which each but the last doubles the grid.
#[derive(Debug)]
pub struct SparseStructureDecoder {
    torso: Kind,
    input: Conv3d,
    middle: Vec<ResBlock>,
    blocks: Vec<Block<Upsample>>,
    output_norm: Norm,
    output: Conv3d,
}

impl SparseStructureDecoder {
    /// Loads the decoder.
    ///
    /// # Errors
    /// When the checkpoint is not a `SparseStructureDecoder` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: Config = checkpoint.config("SparseStructureDecoder")?;
        let (first, last) = config.levels.ends(checkpoint)?;
        checkpoint.build(placement, |weights| Self::new(&config, first, last, weights))
    }

    fn new(config: &Config, first: i64, last: i64, weights: &Weights) -> Result<Self> {
        let (torso, output, levels) = (weights.torso(), weights.at("out_layer"), &config.levels);
        Ok(Self {
            torso: torso.kind(),
            input: Conv3d::load(&weights.at("input_layer"), levels.latent_channels, first)?,
            middle: levels.middle(&torso.at("middle_block"), first)?,
            blocks: levels.blocks(&torso.at("blocks"), Upsample::load)?,
            output_norm: levels.output_norm(&output.at(0), last)?,
            output: Conv3d::load(&output.at(2), last, config.out_channels)?,
        })
    }

    /// `[B, latent channels, r, r, r]` to occupancy logits `[B, 1, s, s, s]`, s = r · 2^(levels - 1), in f32.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        let h = arranged(&self.input.forward(latent)?.f_to_kind(self.torso)?)?;
        let h = self.middle.iter().try_fold(h, |h, block| block.forward(&h))?;
        let h = through(&self.blocks, h, Upsample::forward)?.f_to_kind(latent.f_kind()?)?;
        self.output.forward(&self.output_norm.forward_silu(&h)?)
    }
}

/// The voxels whose logit is positive, as int32 `[N, 4]` = (batch, x, y, z) in lexicographic order.
///
/// # Errors
/// When libtorch fails.
pub fn active_voxels(logits: &Tensor) -> Result<Tensor> {
    Ok(logits.f_select(1, 0)?.f_gt(0.0)?.f_argwhere()?.f_to_kind(Kind::Int)?)
}
