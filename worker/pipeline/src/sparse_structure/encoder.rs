//! The encoder of the sparse-structure VAE: an occupancy grid to a latent one.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::conv::{Conv3d, Norm, ResBlock, arranged};
use crate::Result;
use crate::weights::{Checkpoint, Placement, Weights};

/// Constructor arguments of the reference's `SparseStructureEncoder`.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    in_channels: i64,
    latent_channels: i64,
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

/// Convolution, levels of residual blocks of which each but the last halves the grid, then residual blocks.
#[derive(Debug)]
pub struct SparseStructureEncoder {
    torso: Kind,
    input: Conv3d,
    blocks: Vec<Block>,
    output_norm: Norm,
    output: Conv3d,
}

#[derive(Debug)]
enum Block {
    Residual(ResBlock),
    Halve(Conv3d),
}

impl SparseStructureEncoder {
    /// Loads the encoder.
    ///
    /// # Errors
    /// When the checkpoint is not a `SparseStructureEncoder` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: Config = checkpoint.config("SparseStructureEncoder")?;
        let (Some(&first), Some(&last)) = (config.channels.first(), config.channels.last()) else {
            return Err(checkpoint.refuse("channels must name at least one level"));
        };
        checkpoint.build(placement, |weights| Self::new(&config, first, last, weights))
    }

    fn new(config: &Config, first: i64, last: i64, weights: &Weights) -> Result<Self> {
        let torso = weights.torso();
        let mut blocks = levels(config, &torso.at("blocks"))?;
        for index in 0..config.num_res_blocks_middle {
            blocks.push(Block::Residual(ResBlock::load(&torso.at("middle_block").at(index), last)?));
        }
        let output = weights.at("out_layer");
        Ok(Self {
            torso: torso.kind(),
            input: Conv3d::load(&weights.at("input_layer"), config.in_channels, first)?,
            blocks,
            output_norm: match config.norm_type {
                NormType::Layer => Norm::layer(&output.at(0), last)?,
                NormType::Group => Norm::group(&output.at(0), last)?,
            },
            output: Conv3d::load(&output.at(2), last, 2 * config.latent_channels)?,
        })
    }

    /// Occupancy `[B, 1, s, s, s]` in f32, 0 or 1, to mean and logarithm of the variance of its latent, each
    /// `[B, latent channels, r, r, r]`, r = s / 2^(levels - 1). The mean is what the reference takes for the latent.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, occupancy: &Tensor) -> Result<(Tensor, Tensor)> {
        let h = arranged(&self.input.forward(occupancy)?.f_to_kind(self.torso)?)?;
        let h = self.blocks.iter().try_fold(h, |h, block| match block {
            Block::Residual(block) => block.forward(&h),
            Block::Halve(convolution) => convolution.forward(&h),
        })?;
        let h = h.f_to_kind(occupancy.f_kind()?)?;
        let both = self.output.forward(&self.output_norm.forward_silu(&h)?)?;
        let half = both.size5()?.1 / 2;
        Ok((both.f_narrow(1, 0, half)?, both.f_narrow(1, half, half)?))
    }
}

/// The levels' blocks, numbered through.
fn levels(config: &Config, weights: &Weights) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for (level, &channels) in config.channels.iter().enumerate() {
        for _ in 0..config.num_res_blocks {
            blocks.push(Block::Residual(ResBlock::load(&weights.at(blocks.len()), channels)?));
        }
        if let Some(&next) = config.channels.get(level + 1) {
            let place = weights.at(blocks.len()).at("conv");
            blocks.push(Block::Halve(Conv3d::halving(&place, channels, next)?));
        }
    }
    Ok(blocks)
}
