//! Multi-head attention.

use tch::Tensor;

use super::{Linear, QkNorm};
use crate::Result;
use crate::weights::Weights;

/// Softmax(q kᵀ / √d) v for `[batch, tokens, heads, d]` each; the result is `[batch, tokens, heads · d]`.
///
/// # Errors
/// When libtorch fails.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let heads_first = |x: &Tensor| x.f_transpose(1, 2);
    let (q, k, v) = (heads_first(q)?, heads_first(k)?, heads_first(v)?);
    let mixed = Tensor::f_scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, None, false)?;
    Ok(mixed.f_transpose(1, 2)?.f_flatten(2, 3)?)
}

/// Norms of queries and keys, where the model has them.
#[derive(Debug)]
struct QkNorms {
    q: QkNorm,
    k: QkNorm,
}

impl QkNorms {
    fn load(weights: &Weights, heads: i64, width: i64) -> Result<Self> {
        Ok(Self {
            q: QkNorm::load(&weights.at("q_rms_norm"), heads, width)?,
            k: QkNorm::load(&weights.at("k_rms_norm"), heads, width)?,
        })
    }
}

/// Attention of tokens to one another.
#[derive(Debug)]
pub struct SelfAttention {
    heads: i64,
    to_qkv: Linear,
    norms: Option<QkNorms>,
    to_out: Linear,
}

impl SelfAttention {
    /// Takes `to_qkv`, `to_out` and, with `qk_norm`, the norms.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64, heads: i64, qk_norm: bool) -> Result<Self> {
        Ok(Self {
            heads,
            to_qkv: Linear::load(&weights.at("to_qkv"), channels, 3 * channels)?,
            norms: qk_norm.then(|| QkNorms::load(weights, heads, channels / heads)).transpose()?,
            to_out: Linear::load(&weights.at("to_out"), channels, channels)?,
        })
    }

    /// `[batch, tokens, channels]` to the same.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [q, k, v] = self.project(x)?;
        self.output(&attend(&q, &k, &v)?)
    }

    /// Queries, keys and values of `[.., channels]`, each `[.., heads, d]`, normalised.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn project(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let qkv = split_heads(&self.to_qkv.forward(x)?, 3, self.heads)?;
        let part = |index| qkv.f_select(-3, index);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        match &self.norms {
            Some(norms) => Ok([norms.q.forward(&q)?, norms.k.forward(&k)?, v]),
            None => Ok([q, k, v]),
        }
    }

    /// The projection after the heads, `[.., channels]` to the same.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn output(&self, mixed: &Tensor) -> Result<Tensor> {
        self.to_out.forward(mixed)
    }
}

/// Attention of tokens to a condition.
#[derive(Debug)]
pub struct CrossAttention {
    heads: i64,
    to_q: Linear,
    to_kv: Linear,
    norms: Option<QkNorms>,
    to_out: Linear,
}

impl CrossAttention {
    /// Takes `to_q`, `to_kv`, `to_out` and, with `qk_norm`, the norms.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64, condition: i64, heads: i64, qk_norm: bool) -> Result<Self> {
        Ok(Self {
            heads,
            to_q: Linear::load(&weights.at("to_q"), channels, channels)?,
            to_kv: Linear::load(&weights.at("to_kv"), condition, 2 * channels)?,
            norms: qk_norm.then(|| QkNorms::load(weights, heads, channels / heads)).transpose()?,
            to_out: Linear::load(&weights.at("to_out"), channels, channels)?,
        })
    }

    /// `x [batch, tokens, channels]` attends to `condition [batch, conditions, width]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let q = split_heads(&self.to_q.forward(x)?, 1, self.heads)?.f_select(-3, 0)?;
        let kv = split_heads(&self.to_kv.forward(condition)?, 2, self.heads)?;
        let (k, v) = (kv.f_select(-3, 0)?, kv.f_select(-3, 1)?);
        let (q, k) = match &self.norms {
            Some(norms) => (norms.q.forward(&q)?, norms.k.forward(&k)?),
            None => (q, k),
        };
        self.to_out.forward(&attend(&q, &k, &v)?)
    }
}

/// `[.., parts · heads · d]` as `[.., parts, heads, d]`.
fn split_heads(x: &Tensor, parts: i64, heads: i64) -> Result<Tensor> {
    Ok(x.f_unflatten(-1, [parts, heads, -1])?)
}
