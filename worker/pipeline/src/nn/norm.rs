//! Norms. They compute in f32 and return the kind they were given (SPEC section 9).

use tch::{Kind, Tensor};

use crate::Result;
use crate::kernels::norms::{Affine, layer_norm_silu};
use crate::kernels::transformer::head_norm;
use crate::weights::Weights;

/// Layer norm over the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    channels: i64,
    eps: f64,
    affine: Option<(Tensor, Tensor)>,
}

impl LayerNorm {
    /// Without learnt scale and shift.
    pub fn plain(channels: i64, eps: f64) -> Self {
        Self { channels, eps, affine: None }
    }

    /// With `weight` and `bias`, each `[channels]`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn affine(weights: &Weights, channels: i64, eps: f64) -> Result<Self> {
        let affine = (weights.float("weight", &[channels])?, weights.float("bias", &[channels])?);
        Ok(Self { channels, eps, affine: Some(affine) })
    }

    /// Weight and bias, where it has them.
    pub(super) fn affine_parts(&self) -> Option<(&Tensor, &Tensor)> {
        self.affine.as_ref().map(|(weight, bias)| (weight, bias))
    }

    /// What is added to the variance.
    pub(super) fn eps(&self) -> f64 {
        self.eps
    }

    /// Normalises `[.., channels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.affine.as_ref().map(|(weight, bias)| (weight, bias)).unzip();
        let normalised =
            x.f_to_kind(Kind::Float)?.f_layer_norm([self.channels], weight, bias, self.eps, true)?;
        Ok(normalised.f_to_kind(x.f_kind()?)?)
    }

    /// SiLU of the norm.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        if let Some((weight, bias)) = &self.affine
            && let Some(result) = layer_norm_silu(x, Affine { weight, bias, eps: self.eps })?
        {
            return Ok(result);
        }
        Ok(self.forward(x)?.f_silu()?)
    }
}

/// The norm of queries and keys: x / max(|x|, 1e-12) · γ · √d for each head.
#[derive(Debug)]
pub struct QkNorm {
    /// γ·√d, `[heads, d]`; of a norm of both `[2, heads, d]`.
    scale: Tensor,
}

impl QkNorm {
    /// Takes `gamma [heads, width]`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, heads: i64, width: i64) -> Result<Self> {
        let gamma = weights.float("gamma", &[heads, width])?;
        Ok(Self { scale: gamma.f_mul_scalar((width as f64).sqrt())? })
    }

    /// The norm of `[.., 2, heads, width]`: queries by `queries`, keys by `keys`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn of_both(queries: &Self, keys: &Self) -> Result<Self> {
        Ok(Self { scale: Tensor::f_stack(&[&queries.scale, &keys.scale], 0)? })
    }

    /// What each number of a head of length 1 is multiplied by.
    pub(super) fn scale(&self) -> &Tensor {
        &self.scale
    }

    /// Normalises `[.., heads, width]`. It may write to the memory of `x`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: Tensor) -> Result<Tensor> {
        if head_norm(&x, &self.scale)? {
            return Ok(x);
        }
        let single = x.f_to_kind(Kind::Float)?;
        let length = single.f_norm_scalaropt_dim(2, [-1], true)?.f_clamp_min(1e-12)?;
        Ok(single.f_div(&length)?.f_mul(&self.scale)?.f_to_kind(x.f_kind()?)?)
    }
}
