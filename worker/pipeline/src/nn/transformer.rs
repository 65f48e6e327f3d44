//! The transformer block of both flow models, dense and sparse.

use tch::Tensor;

use super::{Context, CrossAttention, LayerNorm, Linear, Mlp, Residual, Rows, SelfAttention};
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

    /// Embedded times `[T, channels]` to `[T, 6 · channels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, time: &Tensor) -> Result<Tensor> {
        self.0.forward(&time.f_silu()?)
    }
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

    /// The condition `[1 or samples, conditions, width]` as this block sees it.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn context(&self, condition: &Tensor, alike: bool) -> Result<Context> {
        self.cross_attention.context(condition, alike)
    }

    /// The block's own modulation at embedded times `[T, channels]`, unless it is shared: `[T, 6 · channels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn modulation(&self, time: &Tensor) -> Result<Option<Tensor>> {
        self.modulation.as_ref().map(|modulation| modulation.forward(time)).transpose()
    }

    /// The first of two parts: tokens attend to those of their sample. `modulation` is `[1 or samples, 6 · channels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn attend_within(&self, stream: &mut Residual, modulation: &Tensor, rows: Rows) -> Result<()> {
        let [shift, scale, gate, ..] = parts(modulation)?;
        let x = stream.norm(&self.norm1, Some((&shift, &scale)))?;
        stream.add(self.self_attention.forward(&x, rows)?, Some(&gate))
    }

    /// The second: they attend to the condition, and each goes through the perceptron. The stream holds as many copies of
    /// the samples as there are contexts, each of which goes with one.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn attend_to_condition(
        &self,
        stream: &mut Residual,
        modulation: &Tensor,
        lengths: &[i64],
        contexts: &[&Context],
    ) -> Result<()> {
        let [.., shift, scale, gate] = parts(modulation)?;
        let x = stream.empty_like()?;
        let copies = stream.parts(contexts.len())?;
        let outputs = x.f_chunk(contexts.len() as i64, 0)?;
        for ((mut copy, context), output) in copies.into_iter().zip(contexts).zip(&outputs) {
            match context {
                Context::Tokens { keys, values } => {
                    let queries = copy.norm(&self.norm2, None)?;
                    copy.add(self.cross_attention.forward(&queries, keys, values, lengths)?, None)?;
                }
                Context::Alike(answer) => copy.add_constant(answer),
            }
            copy.norm_into(&self.norm3, Some((&shift, &scale)), output)?;
        }
        stream.add(self.mlp.forward(&x)?, Some(&gate))
    }
}

/// Shift, scale and gate of the self-attention, then those of the perceptron.
fn parts(modulation: &Tensor) -> Result<[Tensor; 6]> {
    let parts = modulation.f_chunk(6, -1)?;
    let count = parts.len();
    parts.try_into().map_err(|_| Error::Torch(format!("a modulation splits into 6 parts, not {count}")))
}
