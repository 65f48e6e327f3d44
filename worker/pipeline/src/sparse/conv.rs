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
        self.forward_by(x, (GATHERED / (KERNEL * channels)).clamp(1, rows))
    }

    /// The neighbours of `chunk` voxels at a time are gathered into one matrix, which bounds the memory it takes.
    fn forward_by(&self, x: &SparseTensor, chunk: i64) -> Result<SparseTensor> {
        let width = KERNEL * x.feats().size2()?.1;
        let feats = with_zero_row(x.feats())?;
        let convolve = |rows: &Tensor| -> Result<Tensor> {
            let gathered = feats.f_index_select(0, &rows.f_flatten(0, 1)?)?.f_view([-1, width])?;
            Ok(gathered.f_linear(&self.weight, Some(&self.bias))?)
        };
        let chunks = x.grid().neighbours()?.f_split(chunk, 0)?;
        x.with(Tensor::f_cat(&chunks.iter().map(convolve).collect::<Result<Vec<_>>>()?, 0)?)
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

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::sparse::Grid;

    #[test]
    fn chunks_give_what_a_dense_convolution_gives() {
        tch::manual_seed(3);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let active = random(&[6, 6, 6]).gt(0.3).nonzero().to_kind(Kind::Int);
        let feats = random(&[active.size()[0], 4]);
        let (weight, bias) = (random(&[5, 3, 3, 3, 4]), random(&[5]));
        let places: Vec<Option<Tensor>> =
            active.unbind(1).into_iter().map(|axis| Some(axis.to_kind(Kind::Int64))).collect();
        let volume =
            Tensor::zeros([6, 6, 6, 4], (Kind::Float, Device::Cpu)).index_put(&places, &feats, false);
        let dense = volume.permute([3, 0, 1, 2]).unsqueeze(0).conv3d(
            &weight.permute([0, 4, 1, 2, 3]),
            Some(&bias),
            1,
            1,
            1,
            1,
        );
        let expected = dense.squeeze_dim(0).permute([1, 2, 3, 0]).index(&places);

        let convolution = Convolution { weight: weight.flatten(1, -1), bias };
        let grid = Grid::new(active.constant_pad_nd([1, 0])).unwrap();
        let sparse = convolution.forward_by(&SparseTensor::new(grid, feats).unwrap(), 7).unwrap();
        let error = (sparse.feats() - expected).abs().max().double_value(&[]);
        assert!(error < 1e-5, "{error}");
    }
}
