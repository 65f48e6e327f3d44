//! What encoder and decoder of the VAE have in common: levels of residual blocks, between which the grid changes its size.

use serde::Deserialize;
use tch::Tensor;

use super::conv::{Norm, ResBlock};
use crate::Result;
use crate::weights::{Checkpoint, Weights};

/// Constructor arguments that the reference's `SparseStructureEncoder` and `SparseStructureDecoder` share.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LevelsConfig {
    pub(super) latent_channels: i64,
    num_res_blocks: i64,
    #[serde(default = "two")]
    num_res_blocks_middle: i64,
    channels: Vec<i64>,
    #[serde(default)]
    norm_type: NormType,
}

fn two() -> i64 {
    2
}

/// Which norm precedes the output; all other norms are layer norms whatever this says.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NormType {
    #[default]
    Layer,
    Group,
}

impl LevelsConfig {
    /// The channels of the first and of the last level.
    pub(super) fn ends(&self, checkpoint: &Checkpoint) -> Result<(i64, i64)> {
        match (self.channels.first(), self.channels.last()) {
            (Some(&first), Some(&last)) => Ok((first, last)),
            _ => Err(checkpoint.refuse("channels must name at least one level")),
        }
    }

    /// The norm before the output layer.
    pub(super) fn output_norm(&self, weights: &Weights, channels: i64) -> Result<Norm> {
        match self.norm_type {
            NormType::Layer => Norm::layer(weights, channels),
            NormType::Group => Norm::group(weights, channels),
        }
    }

    /// The residual blocks at the coarsest grid.
    pub(super) fn middle(&self, weights: &Weights, channels: i64) -> Result<Vec<ResBlock>> {
        (0..self.num_res_blocks_middle).map(|index| ResBlock::load(&weights.at(index), channels)).collect()
    }

    /// The levels' blocks, numbered through. `resize` loads what changes the grid, from one number of channels to the next.
    pub(super) fn blocks<R>(
        &self,
        weights: &Weights,
        resize: impl Fn(&Weights, i64, i64) -> Result<R>,
    ) -> Result<Vec<Block<R>>> {
        let mut blocks = Vec::new();
        for (level, &channels) in self.channels.iter().enumerate() {
            for _ in 0..self.num_res_blocks {
                blocks.push(Block::Residual(ResBlock::load(&weights.at(blocks.len()), channels)?));
            }
            if let Some(&next) = self.channels.get(level + 1) {
                blocks.push(Block::Resize(resize(&weights.at(blocks.len()), channels, next)?));
            }
        }
        Ok(blocks)
    }
}

/// A block of a level, or what leads to the next.
#[derive(Debug)]
pub(super) enum Block<R> {
    Residual(ResBlock),
    Resize(R),
}

/// Runs the levels' blocks.
pub(super) fn through<R>(
    blocks: &[Block<R>],
    h: Tensor,
    resize: impl Fn(&R, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    blocks.iter().try_fold(h, |h, block| match block {
        Block::Residual(block) => block.forward(&h),
        Block::Resize(block) => resize(block, &h),
    })
}
