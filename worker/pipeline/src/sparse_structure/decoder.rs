//! The decoder of the sparse-structure VAE: a latent grid to occupancy logits.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::conv::{Conv3d, Norm, ResBlock, Upsample, arranged};
use crate::Result;
use crate::weights::{Checkpoint, Placement, Weights};

/// Constructor arguments of the reference's `SparseStructureDecoder`.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    out_channels: i64,
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

/// Convolution, residual blocks, then levels of residual blocks of which each but the last doubles the grid.
#[derive(Debug)]
pub struct SparseStructureDecoder {
    torso: Kind,
    input: Conv3d,
    middle: Vec<ResBlock>,
    blocks: Vec<Block>,
    output_norm: Norm,
    output: Conv3d,
}

#[derive(Debug)]
enum Block {
    Residual(ResBlock),
    Upsample(Upsample),
}

impl SparseStructureDecoder {
    /// Loads the decoder.
    ///
    /// # Errors
    /// When the checkpoint is not a `SparseStructureDecoder` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: Config = checkpoint.config("SparseStructureDecoder")?;
        let (Some(&first), Some(&last)) = (config.channels.first(), config.channels.last()) else {
            return Err(checkpoint.refuse("channels must name at least one level"));
        };
        checkpoint.build(placement, |weights| Self::new(&config, first, last, weights))
    }

    fn new(config: &Config, first: i64, last: i64, weights: &Weights) -> Result<Self> {
        let torso = weights.torso();
        let output = weights.at("out_layer");
        let output_norm = match config.norm_type {
            NormType::Layer => Norm::layer(&output.at(0), last)?,
            NormType::Group => Norm::group(&output.at(0), last)?,
        };
        Ok(Self {
            torso: torso.kind(),
            input: Conv3d::load(&weights.at("input_layer"), config.latent_channels, first)?,
            middle: (0..config.num_res_blocks_middle)
                .map(|index| ResBlock::load(&torso.at("middle_block").at(index), first))
                .collect::<Result<_>>()?,
            blocks: levels(config, &torso.at("blocks"))?,
            output_norm,
            output: Conv3d::load(&output.at(2), last, config.out_channels)?,
        })
    }

    /// `[B, latent channels, r, r, r]` to occupancy logits `[B, 1, s, s, s]`, s = r · 2^(levels - 1), in f32.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor> {
        let mut h = arranged(&self.input.forward(latent)?.f_to_kind(self.torso)?)?;
        for block in &self.middle {
            h = block.forward(&h)?;
        }
        for block in &self.blocks {
            h = match block {
                Block::Residual(block) => block.forward(&h)?,
                Block::Upsample(block) => block.forward(&h)?,
            };
        }
        let h = h.f_to_kind(latent.f_kind()?)?;
        self.output.forward(&self.output_norm.forward_silu(&h)?)
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
            blocks.push(Block::Upsample(Upsample::load(&weights.at(blocks.len()), channels, next)?));
        }
    }
    Ok(blocks)
}

/// The voxels whose logit is positive, as int32 `[N, 4]` = (batch, x, y, z) in lexicographic order.
///
/// # Errors
/// When libtorch fails.
pub fn active_voxels(logits: &Tensor) -> Result<Tensor> {
    Ok(logits.f_select(1, 0)?.f_gt(0.0)?.f_argwhere()?.f_to_kind(Kind::Int)?)
}
