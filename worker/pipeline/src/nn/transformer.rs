//! The transformer block of both flow models, dense and sparse.

use tch::Tensor;

use super::{CrossAttention, LayerNorm, Linear, Mlp, SelfAttention};
use crate::weights::Weights;
use crate::{Error, Result};

const EPS: f64 = 1e-6;

/// Sizes and options of a flow model's blocks.
#[derive(Debug, Clone, Copy)]
pub struct BlockConfig {
    /// Width of a token.
    pub channels: i64,
    /// Width of a condition token.
    pub condition: i64,
    /// Attention heads.
    pub heads: i64,
    /// Width of the perceptron's middle.
    pub hidden: i64,
    /// Whether the self-attention normalises queries and keys.
    pub qk_norm: bool,
    /// Whether the cross-attention does.
    pub qk_norm_cross: bool,
    /// Whether one modulation, computed outside the blocks, serves all of them.
    pub shared_modulation: bool,
}

/// Shift, scale and gate for the self-attention and for the perceptron, in this order: Linear(SiLU(t)). Stored as
/// `adaLN_modulation.1`.
#[derive(Debug)]
pub struct Modulation(Linear);

impl Modulation {
    /// Takes `adaLN_modulation.1`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64) -> Result<Self> {
        Linear::load(&weights.at("adaLN_modulation").at(1), channels, 6 * channels).map(Self)
    }

    /// The embedded time `[batch, channels]` to `[batch, 6 · channels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, time: &Tensor) -> Result<Tensor> {
        self.0.forward(&time.f_silu()?)
    }
}

/// x · (1 + scale) + shift, with `scale` and `shift` `[batch, 1, channels]`.
///
/// # Errors
/// When libtorch fails.
pub fn modulate(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    Ok(x.f_mul(&scale.f_add_scalar(1.0)?)?.f_add(shift)?)
}

/// Modulated self-attention, cross-attention to the condition, modulated perceptron.
#[derive(Debug)]
pub struct FlowBlock {
    norm1: LayerNorm,
    self_attention: SelfAttention,
    norm2: LayerNorm,
    cross_attention: CrossAttention,
    norm3: LayerNorm,
    mlp: Mlp,
    modulation: Option<Modulation>,
}

impl FlowBlock {
    /// Takes `self_attn`, `norm2`, `cross_attn`, `mlp` and, unless it is shared, the modulation.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, config: &BlockConfig) -> Result<Self> {
        let BlockConfig { channels, condition, heads, hidden, qk_norm, qk_norm_cross, shared_modulation } =
            *config;
        let cross = weights.at("cross_attn");
        Ok(Self {
            norm1: LayerNorm::plain(channels, EPS),
            self_attention: SelfAttention::load(&weights.at("self_attn"), channels, heads, qk_norm)?,
            norm2: LayerNorm::affine(&weights.at("norm2"), channels, EPS)?,
            cross_attention: CrossAttention::load(&cross, channels, condition, heads, qk_norm_cross)?,
            norm3: LayerNorm::plain(channels, EPS),
            mlp: Mlp::load(&weights.at("mlp"), channels, hidden)?,
            modulation: (!shared_modulation).then(|| Modulation::load(weights, channels)).transpose()?,
        })
    }

    /// `x [batch, tokens, channels]`; `time [batch, channels]` embedded, or with a shared modulation that modulation's
    /// output `[batch, 6 · channels]`; `condition [batch, conditions, width]`. A sparse model calls it once per sample
    /// with batch 1.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, time: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let own = self.modulation.as_ref().map(|modulation| modulation.forward(time)).transpose()?;
        let parts = own.as_ref().unwrap_or(time).f_unsqueeze(1)?.f_chunk(6, -1)?;
        let [shift1, scale1, gate1, shift2, scale2, gate2] = &parts[..] else {
            return Err(Error::Torch(format!("a modulation splits into 6 parts, not {}", parts.len())));
        };
        let attended = self.self_attention.forward(&modulate(&self.norm1.forward(x)?, shift1, scale1)?)?;
        let x = x.f_add(&attended.f_mul(gate1)?)?;
        let x = x.f_add(&self.cross_attention.forward(&self.norm2.forward(&x)?, condition)?)?;
        let mixed = self.mlp.forward(&modulate(&self.norm3.forward(&x)?, shift2, scale2)?)?;
        Ok(x.f_add(&mixed.f_mul(gate2)?)?)
    }
}
