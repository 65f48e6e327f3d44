//! The transformer block of the decoders.

use crate::Result;
use crate::nn::{LayerNorm, Mlp, SelfAttention};
use crate::sparse::{SparseTensor, Windows, windowed_attention};
use crate::weights::Weights;

const EPS: f64 = 1e-6;

/// Self-attention within windows, then a perceptron; norms without affine.
#[derive(Debug)]
pub struct SwinBlock {
    norm: LayerNorm,
    attention: SelfAttention,
    mlp: Mlp,
}

impl SwinBlock {
    /// Takes `attn` and `mlp`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64, heads: i64, hidden: i64, qk_norm: bool) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::plain(channels, EPS),
            attention: SelfAttention::load(&weights.at("attn"), channels, heads, qk_norm)?,
            mlp: Mlp::load(&weights.at("mlp"), channels, hidden)?,
        })
    }

    /// `[N, channels]` to the same; `windows` are of the grid of `x`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor, windows: &Windows) -> Result<SparseTensor> {
        let normal = x.with(self.norm.forward(x.feats())?)?;
        let x = x.feats().f_add(windowed_attention(&self.attention, &normal, windows)?.feats())?;
        normal.with(x.f_add(&self.mlp.forward(&self.norm.forward(&x)?)?)?)
    }
}
