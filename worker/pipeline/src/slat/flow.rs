//! The flow transformer on sparse latents.

use std::rc::Rc;

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Resampling, ResidualBlock};
use crate::nn::{
    BlockConfig, Contexts, FlowTorso, Heads, LayerNorm, Linear, Samples, Times, position_embedding,
};
use crate::sampler::{Steps, Velocity};
use crate::sparse::{Grid, SparseTensor};
use crate::weights::{Checkpoint, Placement, Weights};
use crate::{Error, Result};

/// Of the norm before the output layer.
const OUTPUT_EPS: f64 = 1e-5;

/// Constructor arguments of the reference's `SLatFlowModel`.
#[derive(Debug, Clone, Deserialize)]
pub struct SlatFlowConfig {
    /// Voxels along a side of the grid.
    pub resolution: i64,
    /// Channels of a latent.
    pub in_channels: i64,
    /// Width of a token.
    pub model_channels: i64,
    /// Width of a condition token.
    pub cond_channels: i64,
    /// Channels of a velocity.
    pub out_channels: i64,
    /// Transformer blocks.
    pub num_blocks: i64,
    /// Its attention heads.
    #[serde(flatten)]
    pub heads: Heads,
    /// Hidden over outer width of the perceptron.
    pub mlp_ratio: f64,
    /// Voxels along a side of the patch that becomes a token; only 2, the released one, is known.
    pub patch_size: i64,
    /// Residual blocks before, and after, the transformer.
    pub num_io_res_blocks: i64,
    /// Width of the residual blocks.
    pub io_block_channels: Vec<i64>,
    /// Position encoding; only `ape`, the released one, is known.
    pub pe_mode: String,
    /// Whether residual blocks after the transformer see the output of those before it.
    #[serde(default = "yes")]
    pub use_skip_connection: bool,
    /// One modulation for all blocks.
    #[serde(default)]
    pub share_mod: bool,
    /// Normalise queries and keys of the self-attention.
    #[serde(default)]
    pub qk_rms_norm: bool,
    /// Normalise queries and keys of the cross-attention.
    #[serde(default)]
    pub qk_rms_norm_cross: bool,
}

fn yes() -> bool {
    true
}

impl SlatFlowConfig {
    fn block(&self) -> BlockConfig {
        BlockConfig {
            channels: self.model_channels,
            condition: self.cond_channels,
            heads: self.heads.of(self.model_channels),
            hidden: (self.model_channels as f64 * self.mlp_ratio) as i64,
            qk_norm: self.qk_rms_norm,
            qk_norm_cross: self.qk_rms_norm_cross,
            shared_modulation: self.share_mod,
        }
    }

    /// Width of the residual blocks, if this program can run such a model; otherwise what keeps it from that.
    fn io_channels(&self) -> std::result::Result<i64, String> {
        if self.pe_mode != "ape" {
            return Err(format!("pe_mode {:?} is not supported, only \"ape\"", self.pe_mode));
        }
        if !self.use_skip_connection || self.num_io_res_blocks < 1 {
            return Err("only models with residual blocks and skip connections are supported".to_owned());
        }
        let heads = self.heads.of(self.model_channels);
        if heads < 1 || self.model_channels % heads != 0 {
            return Err(format!("{heads} heads do not divide model_channels {}", self.model_channels));
        }
        match (self.patch_size, &self.io_block_channels[..]) {
            (2, &[channels]) => Ok(channels),
            (patch, channels) => Err(format!(
                "patch_size {patch} with io_block_channels {channels:?} is not supported, only 2 with one width"
            )),
        }
    }
}

/// The model: residual blocks down to half the resolution, transformer blocks, residual blocks back.
#[derive(Debug)]
pub struct SlatFlow {
    config: SlatFlowConfig,
    torso: FlowTorso,
    input: Linear,
    input_blocks: Vec<ResidualBlock>,
    output_blocks: Vec<ResidualBlock>,
    output_norm: LayerNorm,
    output: Linear,
}

impl SlatFlow {
    /// Loads the model.
    ///
    /// # Errors
    /// When the checkpoint is not an `SLatFlowModel` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: SlatFlowConfig = checkpoint.config("SLatFlowModel")?;
        match config.io_channels() {
            Err(objection) => Err(checkpoint.refuse(objection)),
            Ok(io) => checkpoint.build(placement, |weights| Self::new(config, io, weights)),
        }
    }

    fn new(config: SlatFlowConfig, io: i64, weights: &Weights) -> Result<Self> {
        let channels = config.model_channels;
        let (torso, count) = (weights.torso(), config.num_io_res_blocks);
        let residual = |place: &str, index, inputs, outputs| {
            ResidualBlock::load(&torso.at(place).at(index), inputs, channels, outputs)
        };
        Ok(Self {
            torso: FlowTorso::load(weights, &config.block(), config.num_blocks)?,
            input: Linear::load(&weights.at("input_layer"), config.in_channels, io)?,
            input_blocks: (0..count)
                .map(|index| {
                    residual("input_blocks", index, io, if index + 1 == count { channels } else { io })
                })
                .collect::<Result<_>>()?,
            output_blocks: (0..count)
                .map(|index| {
                    residual("out_blocks", index, if index == 0 { 2 * channels } else { 2 * io }, io)
                })
                .collect::<Result<_>>()?,
            output_norm: LayerNorm::plain(io, OUTPUT_EPS),
            output: Linear::load(&weights.at("out_layer"), io, config.out_channels)?,
            config,
        })
    }

    /// Channels of a latent.
    pub fn channels(&self) -> i64 {
        self.config.in_channels
    }

    /// The velocity of `x` `[N, C]` at `t [B]` = 1000 · time, both f32, under `condition [B, tokens, width]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor, t: &Tensor, condition: &Tensor) -> Result<SparseTensor> {
        let (times, contexts) = (self.times(t)?, self.torso.contexts(condition)?);
        let places = self.places(x.grid())?;
        let mut velocities = self.velocities(x, &places, &times, &[&contexts])?;
        velocities.pop().ok_or_else(|| Error::Torch("a model gave no velocity".into()))
    }

    fn times(&self, t: &Tensor) -> Result<SlatTimes> {
        let torso = self.torso.times(t)?;
        let of = |blocks: &[ResidualBlock]| {
            blocks.iter().map(|block| block.modulation(&torso.embedded)).collect::<Result<Vec<_>>>()
        };
        Ok(SlatTimes { input: of(&self.input_blocks)?, output: of(&self.output_blocks)?, torso })
    }

    /// Of the tokens of a grid.
    fn places(&self, grid: &Grid) -> Result<Places> {
        let tokens = grid.coarser()?;
        Ok(Places {
            position: position_embedding(&tokens.positions()?, self.config.model_channels)?,
            samples: Samples::bucketed(tokens.lengths(), self.torso.kind(), tokens.device())?,
        })
    }

    /// The velocity of `x` `[N, C]` under each of `conditions`. What is before the transformer does not depend on them.
    fn velocities(
        &self,
        x: &SparseTensor,
        places: &Places,
        times: &SlatTimes,
        conditions: &[&Contexts],
    ) -> Result<Vec<SparseTensor>> {
        let (h, skips) = self.encode(x, &times.input)?;
        let Places { position, samples } = places;
        let rows = samples.spread(h.feats().f_add(position)?)?;
        let rows =
            self.torso.forward(rows, samples, &times.torso, conditions)?.f_to_kind(self.torso.kind())?;
        let decode = |rows: &Tensor| self.decode(x, h.with(samples.gather(rows)?)?, &skips, &times.output);
        rows.f_chunk(conditions.len() as i64, 0)?.iter().map(decode).collect()
    }

    /// The residual blocks before the transformer; the last one halves the resolution. The last one's output, and those of
    /// all.
    fn encode(&self, x: &SparseTensor, modulations: &[Tensor]) -> Result<(SparseTensor, Vec<SparseTensor>)> {
        let mut h = x.with(self.input.forward(x.feats())?.f_to_kind(self.torso.kind())?)?;
        let mut skips = vec![];
        for (index, (block, modulation)) in self.input_blocks.iter().zip(modulations).enumerate() {
            let is_last = index + 1 == self.input_blocks.len();
            let resampling = if is_last { Resampling::Down } else { Resampling::Same };
            h = block.forward(&h, modulation, &resampling)?;
            skips.push(h.with(h.feats().shallow_clone())?);
        }
        Ok((h, skips))
    }

    /// The residual blocks after the transformer, the first of which returns to the resolution of `x`, and the output.
    fn decode(
        &self,
        x: &SparseTensor,
        mut h: SparseTensor,
        skips: &[SparseTensor],
        modulations: &[Tensor],
    ) -> Result<SparseTensor> {
        let blocks = self.output_blocks.iter().zip(modulations).zip(skips.iter().rev());
        for (index, ((block, modulation), skip)) in blocks.enumerate() {
            let joined = h.with(Tensor::f_cat(&[h.feats(), skip.feats()], 1)?)?;
            let resampling = if index == 0 { Resampling::Up(Rc::clone(x.grid())) } else { Resampling::Same };
            h = block.forward(&joined, modulation, &resampling)?;
        }
        let kind = x.feats().f_kind()?;
        x.with(self.output.forward(&self.output_norm.forward(h.feats())?.f_to_kind(kind)?)?)
    }
}

/// Where tokens are: in space, and among the transformer's rows.
#[derive(Debug)]
struct Places {
    /// `[tokens, channels]`.
    position: Tensor,
    samples: Samples,
}

/// Embedded times, and what the blocks make of them.
#[derive(Debug)]
struct SlatTimes {
    torso: Times,
    /// Of each residual block before the transformer, `[T, 2 · channels]`.
    input: Vec<Tensor>,
    /// Of those after it.
    output: Vec<Tensor>,
}

impl SlatTimes {
    fn step(&self, step: usize) -> Result<Self> {
        let rows = |of_blocks: &[Tensor]| {
            of_blocks.iter().map(|rows| Ok(rows.f_narrow(0, step as i64, 1)?)).collect::<Result<_>>()
        };
        Ok(Self { torso: self.torso.step(step)?, input: rows(&self.input)?, output: rows(&self.output)? })
    }
}

/// The model on given voxels, as the sampler wants it: with a plain tensor `[N, C]`.
#[derive(Debug)]
pub struct FlowOnGrid<'a> {
    /// The model.
    pub model: &'a SlatFlow,
    /// The voxels.
    pub grid: &'a Rc<Grid>,
}

impl Velocity for FlowOnGrid<'_> {
    fn start<'a>(&'a self, times: &[f64], conditions: &[&Tensor]) -> Result<Box<dyn Steps + 'a>> {
        let model = self.model;
        let times = Tensor::f_from_slice(times)?.f_to_kind(Kind::Float)?.f_to_device(self.grid.device())?;
        let conditions = conditions.iter().map(|condition| model.torso.contexts(condition));
        Ok(Box::new(Run {
            model,
            grid: self.grid,
            places: model.places(self.grid)?,
            times: model.times(&times)?,
            conditions: conditions.collect::<Result<_>>()?,
        }))
    }
}

/// The model on given voxels, ready for a run.
struct Run<'a> {
    model: &'a SlatFlow,
    grid: &'a Rc<Grid>,
    places: Places,
    times: SlatTimes,
    conditions: Vec<Contexts>,
}

impl Steps for Run<'_> {
    fn velocities(&self, x: &Tensor, step: usize, conditions: &[usize]) -> Result<Vec<Tensor>> {
        let x = SparseTensor::new(Rc::clone(self.grid), x.shallow_clone())?;
        let conditions: Vec<&Contexts> =
            conditions.iter().filter_map(|&index| self.conditions.get(index)).collect();
        let velocities = self.model.velocities(&x, &self.places, &self.times.step(step)?, &conditions)?;
        Ok(velocities.iter().map(|velocity| velocity.feats().shallow_clone()).collect())
    }
}
