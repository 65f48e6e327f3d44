//! The flow transformer on a dense grid of latents.

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::nn::{BlockConfig, Contexts, FlowTorso, Heads, LayerNorm, Linear, Samples, Times};
use crate::sampler::{Steps, Velocity};
use crate::weights::{Checkpoint, Placement, Weights};
use crate::{Error, Result};

/// Of the norm before the output layer.
const OUTPUT_EPS: f64 = 1e-5;

/// Constructor arguments of the reference's `SparseStructureFlowModel`.
#[derive(Debug, Clone, Deserialize)]
pub struct SparseStructureConfig {
    /// Voxels along a side of the grid.
    pub resolution: i64,
    /// Channels of a sample.
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
    /// Voxels along a side of a patch.
    pub patch_size: i64,
    /// Position encoding; only `ape`, the released one, is known.
    pub pe_mode: String,
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

/// Beyond any grid that fits a memory.
const MAX_RESOLUTION: i64 = 1024;

impl SparseStructureConfig {
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

    /// What keeps this program from running such a model, if anything.
    fn objection(&self) -> Option<String> {
        if self.pe_mode != "ape" {
            return Some(format!("pe_mode {:?} is not supported, only \"ape\"", self.pe_mode));
        }
        let heads = self.heads.of(self.model_channels);
        if heads < 1 || self.model_channels % heads != 0 {
            return Some(format!("{heads} heads do not divide model_channels {}", self.model_channels));
        }
        let (resolution, patch) = (self.resolution, self.patch_size);
        let fits = (1..=MAX_RESOLUTION).contains(&resolution) && patch >= 1 && resolution % patch == 0;
        (!fits)
            .then(|| format!("patch_size {patch} must divide resolution {resolution}, 1 to {MAX_RESOLUTION}"))
    }
}

/// The model.
#[derive(Debug)]
pub struct SparseStructureFlow {
    config: SparseStructureConfig,
    torso: FlowTorso,
    input: Linear,
    position: Tensor,
    output_norm: LayerNorm,
    output: Linear,
}

impl SparseStructureFlow {
    /// Loads the model.
    ///
    /// # Errors
    /// When the checkpoint is not a `SparseStructureFlowModel` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: SparseStructureConfig = checkpoint.config("SparseStructureFlowModel")?;
        match config.objection() {
            Some(objection) => Err(checkpoint.refuse(objection)),
            None => checkpoint.build(placement, |weights| Self::new(config, weights)),
        }
    }

    fn new(config: SparseStructureConfig, weights: &Weights) -> Result<Self> {
        let channels = config.model_channels;
        let patch = config.patch_size.pow(3);
        let tokens = (config.resolution / config.patch_size).pow(3);
        Ok(Self {
            torso: FlowTorso::load(weights, &config.block(), config.num_blocks)?,
            input: Linear::load(&weights.at("input_layer"), config.in_channels * patch, channels)?,
            position: weights.tensor("pos_emb", &[tokens, channels])?,
            output_norm: LayerNorm::plain(channels, OUTPUT_EPS),
            output: Linear::load(&weights.at("out_layer"), channels, config.out_channels * patch)?,
            config,
        })
    }

    /// The shape of the noise for `batch` samples.
    pub fn noise_shape(&self, batch: i64) -> [i64; 5] {
        let side = self.config.resolution;
        [batch, self.config.in_channels, side, side, side]
    }

    /// The velocity of `x [B, C, r, r, r]` at `t [B]` = 1000 · time, both f32, under `condition [B, tokens, width]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, t: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let (batch, tokens) = (x.size5()?.0, self.position.size2()?.0);
        let samples = Samples::new(vec![tokens; batch as usize], x.device())?;
        let (times, contexts) = (self.torso.times(t)?, self.torso.contexts(condition)?);
        let mut velocities = self.velocities(x, &times, &[&contexts], &samples)?;
        velocities.pop().ok_or_else(|| Error::Torch("a model gave no velocity".into()))
    }

    /// The velocity of `x [B, C, r, r, r]` under each of `conditions`.
    fn velocities(
        &self,
        x: &Tensor,
        times: &Times,
        conditions: &[&Contexts],
        samples: &Samples,
    ) -> Result<Vec<Tensor>> {
        let (patch, resolution) = (self.config.patch_size, self.config.resolution);
        let h = self.input.forward(&patchify(x, patch)?)?.f_add(&self.position)?;
        let (batch, tokens, _) = h.size3()?;
        let h = self.torso.forward(h.f_flatten(0, 1)?, samples, times, conditions)?;
        let h = self.output.forward(&self.output_norm.forward(&h)?)?;
        let velocity = |rows: &Tensor| unpatchify(&rows.f_unflatten(0, [batch, tokens])?, patch, resolution);
        h.f_chunk(conditions.len() as i64, 0)?.iter().map(velocity).collect()
    }
}

impl Velocity for SparseStructureFlow {
    fn start<'a>(&'a self, times: &[f64], conditions: &[&Tensor]) -> Result<Box<dyn Steps + 'a>> {
        let times =
            Tensor::f_from_slice(times)?.f_to_kind(Kind::Float)?.f_to_device(self.position.device())?;
        Ok(Box::new(Run {
            model: self,
            times: self.torso.times(&times)?,
            conditions: conditions
                .iter()
                .map(|condition| self.torso.contexts(condition))
                .collect::<Result<_>>()?,
        }))
    }
}

/// The model, ready for a run.
struct Run<'a> {
    model: &'a SparseStructureFlow,
    times: Times,
    conditions: Vec<Contexts>,
}

impl Steps for Run<'_> {
    fn velocities(&self, x: &Tensor, step: usize, conditions: &[usize]) -> Result<Vec<Tensor>> {
        let conditions: Vec<&Contexts> =
            conditions.iter().filter_map(|&index| self.conditions.get(index)).collect();
        let (batch, tokens) = (x.size5()?.0, self.model.position.size2()?.0);
        let samples = Samples::at_one_time(vec![tokens; batch as usize]);
        self.model.velocities(x, &self.times.step(step)?, &conditions, &samples)
    }
}

/// `[B, C, r, r, r]` to `[B, (r/p)³, C·p³]`: tokens by x, y, z; channels by channel, then place in the patch.
fn patchify(x: &Tensor, p: i64) -> Result<Tensor> {
    let split = x.f_unflatten(4, [-1, p])?.f_unflatten(3, [-1, p])?.f_unflatten(2, [-1, p])?;
    Ok(split.f_permute([0, 2, 4, 6, 1, 3, 5, 7])?.f_flatten(4, 7)?.f_flatten(1, 3)?)
}

/// The inverse of [`patchify`] on a grid of side `r`.
fn unpatchify(tokens: &Tensor, p: i64, r: i64) -> Result<Tensor> {
    let split = tokens.f_unflatten(1, [r / p; 3])?.f_unflatten(4, [-1, p, p, p])?;
    Ok(split.f_permute([0, 4, 1, 5, 2, 6, 3, 7])?.f_flatten(6, 7)?.f_flatten(4, 5)?.f_flatten(2, 3)?)
}
