//! Submanifold convolution: values move between neighbouring active voxels; no voxel becomes active.

use tch::Tensor;

use super::SparseTensor;
use super::groups::with_zero_row;
use crate::Result;
use crate::weights::Weights;

const KERNEL: i64 = 27;
/// Numbers gathered at a time: 256 MB in f32.
const GATHERED: i64 = 1 << 26;

/// Convolution with a kernel of 3³ over active voxels.
#[derive(Debug)]
pub struct Convolution {
    /// `[outputs, 27 · inputs]`.
    weight: Tensor,
    bias: Tensor,
}

impl Convolution {
    /// Takes `conv.weight` `[outputs, 3, 3, 3, inputs]` and `conv.bias`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        let weights = weights.at("conv");
        let weight = weights.tensor("weight", &[outputs, 3, 3, 3, inputs])?;
        Ok(Self { weight: weight.f_flatten(1, -1)?, bias: weights.tensor("bias", &[outputs])? })
    }

    /// `[N, inputs]` to `[N, outputs]` on the same grid.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor) -> Result<SparseTensor> {
        let (rows, channels) = x.feats().size2()?;
        let feats = with_zero_row(x.feats())?;
        let neighbours = x.grid().neighbours()?;
        let chunk = (GATHERED / (KERNEL * channels)).clamp(1, rows);
        let parts: Vec<Tensor> = neighbours
            .f_split(chunk, 0)?
            .iter()
            .map(|rows| {
                let gathered = feats.f_index_select(0, &rows.f_flatten(0, 1)?)?;
                Ok(gathered.f_view([-1, KERNEL * channels])?.f_linear(&self.weight, Some(&self.bias))?)
            })
            .collect::<Result<_>>()?;
        x.with(Tensor::f_cat(&parts, 0)?)
    }
}

/// Convolution with a kernel of 1.
///
/// spconv, with which the released models were trained, reads the stored `[outputs, 1, 1, 1, inputs]` numbers row by row
/// as an `[inputs, outputs]` matrix: y = x · W + b with that matrix, not with its transpose.
#[derive(Debug)]
pub struct PointwiseConvolution {
    /// `[inputs, outputs]`.
    weight: Tensor,
    bias: Tensor,
}

impl PointwiseConvolution {
    /// Takes `conv.weight` `[outputs, 1, 1, 1, inputs]` and `conv.bias`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        let weights = weights.at("conv");
        let weight = weights.tensor("weight", &[outputs, 1, 1, 1, inputs])?;
        Ok(Self { weight: weight.f_reshape([inputs, -1])?, bias: weights.tensor("bias", &[outputs])? })
    }

    /// `[N, inputs]` to `[N, outputs]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor) -> Result<SparseTensor> {
        x.with(self.bias.f_addmm(x.feats(), &self.weight)?)
    }
}
