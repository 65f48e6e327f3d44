//! Multi-head attention.

use tch::Tensor;

use super::{Linear, QkNorm, Rows};
use crate::Result;
use crate::kernels::attention::{FAR_BELOW, MASK, masked_heads};
use crate::weights::Weights;

/// Softmax(q kᵀ / √d) v for `[batch, tokens, heads, d]` each; the result is `[batch, tokens, heads · d]`. Queries and keys may be
/// longer than the d numbers of a value.
///
/// # Errors
/// When libtorch fails.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let heads_first = |x: &Tensor| x.f_transpose(1, 2);
    let (q, k, v) = (heads_first(q)?, heads_first(k)?, heads_first(v)?);
    let scale = v.size().last().map(|&width| 1.0 / (width as f64).sqrt());
    let mixed = Tensor::f_scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, scale, false)?;
    Ok(mixed.f_transpose(1, 2)?.f_flatten(2, 3)?)
}

/// The same for rows of samples, `[N, heads, d]` each; samples of these `lengths` follow one another. The result is
/// `[N, heads · d]`.
///
/// # Errors
/// When libtorch fails.
pub fn attend_within(q: &Tensor, k: &Tensor, v: &Tensor, lengths: &[i64]) -> Result<Tensor> {
    let of_samples = |q: &Tensor, k: &Tensor, v: &Tensor, samples: i64| {
        let split = |rows: &Tensor| rows.f_unflatten(0, [samples, -1]);
        Ok::<_, crate::Error>(attend(&split(q)?, &split(k)?, &split(v)?)?.f_flatten(0, 1)?)
    };
    if are_equal(lengths) {
        return of_samples(q, k, v, lengths.len() as i64);
    }
    let split = |rows: &Tensor| rows.f_split_with_sizes(lengths, 0);
    let (q, k, v) = (split(q)?, split(k)?, split(v)?);
    let samples = q.iter().zip(&k).zip(&v).map(|((q, k), v)| of_samples(q, k, v, 1));
    Ok(Tensor::f_cat(&samples.collect::<Result<Vec<_>>>()?, 0)?)
}

fn are_equal(lengths: &[i64]) -> bool {
    lengths.windows(2).all(|pair| pair.first() == pair.last())
}

/// Attention of tokens to one another.
#[derive(Debug)]
pub struct SelfAttention {
    heads: i64,
    to_qkv: Linear,
    norm: Option<QkNorm>,
    to_out: Linear,
}

impl SelfAttention {
    /// Takes `to_qkv`, `to_out` and, with `qk_norm`, the norms.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64, heads: i64, qk_norm: bool) -> Result<Self> {
        let norm = || {
            let [queries, keys] = load_norms(weights, heads, channels / heads)?;
            QkNorm::of_both(&queries, &keys)
        };
        Ok(Self {
            heads,
            to_qkv: Linear::load(&weights.at("to_qkv"), channels, 3 * channels)?,
            norm: qk_norm.then(norm).transpose()?,
            to_out: Linear::load(&weights.at("to_out"), channels, channels)?,
        })
    }

    /// Rows `[N, channels]` to the same, each among those of its sample.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, rows: Rows) -> Result<Tensor> {
        let [q, k, v] = match rows.padding {
            Some(padding) => self.project_masked(x, padding)?,
            None => self.project(x)?,
        };
        self.output(&attend_within(&q, &k, &v, rows.lengths)?)
    }

    /// As [`Self::project`], but queries and keys have [`MASK`] numbers more, which make sure that nothing comes of the rows of
    /// padding.
    fn project_masked(&self, x: &Tensor, padding: &Tensor) -> Result<[Tensor; 3]> {
        let qkv = self.heads_of(x)?;
        match masked_heads(&qkv, self.norm.as_ref().map(QkNorm::scale), padding)? {
            Some(qk) => Ok([qk.f_select(-3, 0)?, qk.f_select(-3, 1)?, qkv.f_select(-3, 2)?]),
            None => mask_heads(self.normalised(&qkv)?, padding),
        }
    }

    /// Queries, keys and values of `[.., channels]`, each `[.., heads, d]`, normalised.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn project(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        self.normalised(&self.heads_of(x)?)
    }

    /// `[.., channels]` to `[.., 3, heads, d]`.
    fn heads_of(&self, x: &Tensor) -> Result<Tensor> {
        split_heads(&self.to_qkv.forward(x)?, 3, self.heads)
    }

    fn normalised(&self, qkv: &Tensor) -> Result<[Tensor; 3]> {
        let (qk, v) = (qkv.f_narrow(-3, 0, 2)?, qkv.f_select(-3, 2)?);
        let qk = match &self.norm {
            Some(norm) => norm.forward(qk)?,
            None => qk,
        };
        Ok([qk.f_select(-3, 0)?, qk.f_select(-3, 1)?, v])
    }

    /// The projection after the heads, `[.., channels]` to the same.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn output(&self, mixed: &Tensor) -> Result<Tensor> {
        self.to_out.forward(mixed)
    }
}

/// Queries, keys and values, each `[N, heads, d]`: the first two with [`MASK`] numbers more, the first of which is 1 in a query, and in a
/// key far below zero where it is padding, else 0; values are 0 there.
fn mask_heads([q, k, v]: [Tensor; 3], padding: &Tensor) -> Result<[Tensor; 3]> {
    let (rows, heads, kind) = (v.size3()?.0, v.size3()?.1, v.f_kind()?);
    let padding = padding.f_repeat([rows / padding.size1()?])?.f_to_kind(kind)?.f_view([-1, 1, 1])?;
    let longer = |x: &Tensor, first: &Tensor| -> Result<Tensor> {
        let first = first.f_expand([rows, heads, 1], false)?;
        Ok(Tensor::f_cat(&[x, &first], -1)?.f_constant_pad_nd([0, MASK - 1])?)
    };
    let q = longer(&q, &padding.f_ones_like()?)?;
    let k = longer(&k, &padding.f_mul_scalar(FAR_BELOW)?)?;
    Ok([q, k, v.f_mul(&padding.f_rsub_scalar(1.0)?)?])
}

/// A condition as the cross-attention of one block sees it: what does not depend on who attends to it.
#[derive(Debug)]
pub enum Context {
    /// Keys and values, `[1 or samples, conditions, heads, d]`.
    Tokens {
        /// Of what is asked for.
        keys: Tensor,
        /// Of what is answered.
        values: Tensor,
    },
    /// The tokens of the condition are all alike, so that whoever attends to them gets the same: `[1, channels]`.
    Alike(Tensor),
}

/// Attention of tokens to a condition.
#[derive(Debug)]
pub struct CrossAttention {
    heads: i64,
    to_q: Linear,
    to_kv: Linear,
    /// Of queries and keys.
    norms: Option<[QkNorm; 2]>,
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
            norms: qk_norm.then(|| load_norms(weights, heads, channels / heads)).transpose()?,
            to_out: Linear::load(&weights.at("to_out"), channels, channels)?,
        })
    }

    /// Readies `condition [1 or samples, conditions, width]`, whose tokens may be all `alike`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn context(&self, condition: &Tensor, alike: bool) -> Result<Context> {
        let condition = if alike { &condition.f_narrow(0, 0, 1)?.f_narrow(1, 0, 1)? } else { condition };
        let kv = split_heads(&self.to_kv.forward(condition)?, 2, self.heads)?;
        let (keys, values) = (kv.f_select(-3, 0)?, kv.f_select(-3, 1)?);
        if alike {
            return Ok(Context::Alike(self.to_out.forward(&values.f_view([1, -1])?)?));
        }
        let keys = match &self.norms {
            Some([_, norm]) => norm.forward(keys)?,
            None => keys,
        };
        Ok(Context::Tokens { keys, values })
    }

    /// Rows `[N, channels]` of samples of these `lengths` attend to keys and values, `[1 or samples, conditions, heads, d]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor, keys: &Tensor, values: &Tensor, lengths: &[i64]) -> Result<Tensor> {
        let q = self.to_q.forward(x)?.f_unflatten(-1, [self.heads, -1])?;
        let q = match &self.norms {
            Some([norm, _]) => norm.forward(q)?,
            None => q,
        };
        let samples = lengths.len() as i64;
        let of_each = |context: &Tensor| context.f_expand([samples, -1, -1, -1], false);
        let (keys, values) = (of_each(keys)?, of_each(values)?);
        let mixed = if are_equal(lengths) {
            attend(&q.f_unflatten(0, [samples, -1])?, &keys, &values)?.f_flatten(0, 1)?
        } else {
            let parts = q.f_split_with_sizes(lengths, 0)?;
            let attend_one = |(sample, part): (i64, &Tensor)| {
                let of = |context: &Tensor| context.f_narrow(0, sample, 1);
                Ok(attend(&part.f_unsqueeze(0)?, &of(&keys)?, &of(&values)?)?.f_squeeze_dim(0)?)
            };
            Tensor::f_cat(&(0..).zip(&parts).map(attend_one).collect::<Result<Vec<_>>>()?, 0)?
        };
        self.to_out.forward(&mixed)
    }
}

/// The norms of queries and of keys.
fn load_norms(weights: &Weights, heads: i64, width: i64) -> Result<[QkNorm; 2]> {
    let norm = |name| QkNorm::load(&weights.at(name), heads, width);
    Ok([norm("q_rms_norm")?, norm("k_rms_norm")?])
}

/// `[.., parts · heads · d]` as `[.., parts, heads, d]`.
fn split_heads(x: &Tensor, parts: i64, heads: i64) -> Result<Tensor> {
    Ok(x.f_unflatten(-1, [parts, heads, -1])?)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn padding_changes_nothing_for_tokens() {
        tch::manual_seed(5);
        let (tokens, rows) = (5, 8);
        let qkv = Tensor::randn([2 * rows, 3, 2, 4], (Kind::Float, Device::Cpu)) * 3.0;
        let padding = Tensor::arange(rows, (Kind::Int, Device::Cpu)).ge(tokens).to_kind(Kind::Int);
        let part = |index| qkv.select(1, index);
        let [q, k, v] = mask_heads([part(0), part(1), part(2)], &padding).unwrap();
        let masked = attend_within(&q, &k, &v, &[rows, rows]).unwrap();
        for sample in 0..2 {
            let of = |x: &Tensor| x.narrow(0, sample * rows, tokens);
            let alone = attend_within(&of(&part(0)), &of(&part(1)), &of(&part(2)), &[tokens]).unwrap();
            let error = (of(&masked) - alone).abs().max().double_value(&[]);
            assert!(error < 1e-5, "{error}");
        }
    }
}
