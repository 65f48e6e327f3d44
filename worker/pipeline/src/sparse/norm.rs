//! Group norm over the voxels of a sample.

use tch::{Kind, Tensor};

use super::SparseTensor;
use crate::Result;
use crate::kernels::norms::{Affine, group_norm_silu};
use crate::weights::Weights;

const EPS: f64 = 1e-5;

/// Normalises groups of channels over all voxels of each sample. Computes in f32 and returns the kind it was given.
#[derive(Debug)]
pub struct GroupNorm {
    groups: i64,
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    /// Takes `weight` and `bias`, each `[channels]`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64, groups: i64) -> Result<Self> {
        Ok(Self {
            groups,
            weight: weights.float("weight", &[channels])?,
            bias: weights.float("bias", &[channels])?,
        })
    }

    /// Normalises `[N, channels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor) -> Result<SparseTensor> {
        x.map_samples(|tokens, _| {
            let grouped = tokens.f_to_kind(Kind::Float)?.f_unflatten(-1, [self.groups, -1])?;
            let (variance, mean) = grouped.f_var_mean_dim(&[1i64, 3][..], false, true)?;
            let normal =
                grouped.f_sub(&mean)?.f_mul_(&variance.f_add_scalar(EPS)?.f_rsqrt()?)?.f_flatten(2, 3)?;
            Ok(self.bias.f_addcmul(&normal, &self.weight)?.f_to_kind(tokens.f_kind()?)?)
        })
    }

    /// The same, and SiLU of it.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward_silu(&self, x: &SparseTensor) -> Result<SparseTensor> {
        let affine = Affine { weight: &self.weight, bias: &self.bias, eps: EPS };
        match group_norm_silu(x.feats(), x.grid().lengths(), self.groups, affine)? {
            Some(feats) => x.with(feats),
            None => x.with(self.forward(x)?.feats().f_silu()?),
        }
    }
}
