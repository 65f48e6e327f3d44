//! Submanifold convolution: values move between neighbouring active voxels; no voxel becomes active.

use std::cell::OnceCell;
use std::rc::Rc;

use tch::{Kind, Tensor};

use super::grid::once;
use super::groups::with_zero_row;
use super::{Grid, SparseTensor, subdivision};
use crate::Result;
use crate::kernels::sparse_conv::{self, Around, Neighbours, Operands};
use crate::kernels::upsampled_conv;
use crate::weights::Weights;

/// Numbers gathered at a time: 1 GB in f32.
const GATHERED: i64 = 1 << 28;

/// Convolution with a kernel of 3³ over active voxels.
#[derive(Debug)]
pub struct Convolution {
    /// `[outputs, 27 · inputs]`.
    weight: Tensor,
    /// The same as `[27 · outputs, inputs]`, once it was needed.
    by_tap: OnceCell<Tensor>,
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
        let (weight, by_tap) = (weight.f_flatten(1, -1)?, OnceCell::new());
        Ok(Self { weight, by_tap, bias: weights.tensor("bias", &[outputs])? })
    }

    /// `[N, inputs]` to `[N, outputs]` on the same grid.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor) -> Result<SparseTensor> {
        match self.convolve(x, Around::Nothing)? {
            Some(feats) => x.with(feats),
            None => self.gather(x),
        }
    }

    /// The same plus `around` `[N, outputs]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward_around(&self, x: &SparseTensor, around: &Tensor) -> Result<SparseTensor> {
        match self.convolve(x, Around::Voxels(around))? {
            Some(feats) => x.with(feats),
            None => x.with(self.gather(x)?.feats().f_add(around)?),
        }
    }

    /// The same plus values of the voxels that were divided into those of `x`.
    ///
    /// # Errors
    /// When libtorch fails or `x` is not on a grid that `around`'s was divided into.
    pub fn forward_around_divided(&self, x: &SparseTensor, around: &SparseTensor) -> Result<SparseTensor> {
        match self.convolve(x, Around::Parents(around.feats()))? {
            Some(feats) => x.with(feats),
            None => x.with(self.gather(x)?.feats().f_add(around.subdivide(x.grid())?.feats())?),
        }
    }

    /// The convolution of [`SparseTensor::upsample`]: copies are alike, so that a kernel adds up products of the coarse
    /// values, of which there are fewer.
    ///
    /// # Errors
    /// As [`SparseTensor::upsample`].
    pub fn forward_upsampled(&self, x: &SparseTensor, finer: &Rc<Grid>) -> Result<SparseTensor> {
        if upsampled_conv::suits(x.feats()) {
            let outputs = self.bias.size1()?;
            let by_tap = once(&self.by_tap, || {
                Ok(self
                    .weight
                    .f_unflatten(1, [27, -1])?
                    .f_transpose(0, 1)?
                    .f_contiguous()?
                    .f_flatten(0, 1)?)
            })?;
            let products = x.feats().f_linear(by_tap, None::<Tensor>)?.f_unflatten(1, [27, outputs])?;
            let parent = finer.children()?.group_of_row();
            if let Some(feats) =
                upsampled_conv::add_products(&products, finer.neighbours()?, parent, &self.bias)?
            {
                return SparseTensor::new(Rc::clone(finer), feats);
            }
        }
        self.forward(&x.upsample(finer)?)
    }

    fn convolve(&self, x: &SparseTensor, around: Around) -> Result<Option<Tensor>> {
        let (x, neighbours) = (x.feats(), x.grid().nearby()?);
        sparse_conv::convolve(&Operands { x, neighbours, weight: &self.weight, bias: &self.bias, around })
    }

    fn gather(&self, x: &SparseTensor) -> Result<SparseTensor> {
        let feats = with_zero_row(x.feats())?;
        x.with(gather_and_multiply(&feats, x.grid().neighbours()?, &self.weight, &self.bias, GATHERED)?)
    }
}

/// Convolution with a kernel of 3³ on the voxels of a finer grid, eight for each voxel of the input, which all start from
/// a copy of its value.
///
/// A half of a voxel and its neighbours lie in two voxels along each axis, so that the 27 weights of a child act on 8
/// values: they are added up once, when the model is loaded.
#[derive(Debug)]
pub struct SubdividingConvolution {
    /// For each child, `[8, outputs, 8 · inputs]`.
    weights: Tensor,
    /// For each child, the neighbours of the undivided voxel that it sees.
    seen: Vec<Tensor>,
    bias: Tensor,
}

impl SubdividingConvolution {
    /// Takes `conv.weight` `[outputs, 3, 3, 3, inputs]` and `conv.bias`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        let weights = weights.at("conv");
        let weight = weights.tensor("weight", &[outputs, 3, 3, 3, inputs])?;
        Self::new(&weight.f_flatten(1, 3)?, weights.tensor("bias", &[outputs])?)
    }

    /// `weight` is `[outputs, 27, inputs]`.
    fn new(weight: &Tensor, bias: Tensor) -> Result<Self> {
        let (kind, device) = (weight.f_kind()?, weight.device());
        let single = weight.f_to_kind(Kind::Float)?;
        let (mut weights, mut seen) = (vec![], vec![]);
        for child in 0..8 {
            let (neighbours, taps) = subdivision::seen_by(child);
            let taps = Tensor::f_from_slice(taps.as_flattened())?.f_view([8, 27])?.f_to_device(device)?;
            weights.push(taps.f_matmul(&single)?.f_flatten(1, 2)?.f_to_kind(kind)?);
            seen.push(Tensor::f_from_slice(&neighbours)?.f_to_device(device)?);
        }
        Ok(Self { weights: Tensor::f_stack(&weights, 0)?, seen, bias })
    }

    /// `[N, inputs]` to `[8 N, outputs]` on `finer`, the grid's [`Grid::subdivided`].
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor, finer: &Rc<Grid>) -> Result<SparseTensor> {
        let neighbours = x.grid().neighbours()?;
        let operands = Operands {
            x: x.feats(),
            neighbours: Neighbours::Of(neighbours),
            weight: &self.weights,
            bias: &self.bias,
            around: Around::Nothing,
        };
        if let Some(feats) = sparse_conv::convolve(&operands)? {
            return SparseTensor::new(Rc::clone(finer), feats);
        }
        let feats = with_zero_row(x.feats())?;
        let child = |(weight, seen): (&Tensor, &Tensor)| {
            gather_and_multiply(&feats, &neighbours.f_index_select(1, seen)?, weight, &self.bias, GATHERED)
        };
        let weights = self.weights.f_unbind(0)?;
        let children: Vec<Tensor> = weights.iter().zip(&self.seen).map(child).collect::<Result<_>>()?;
        SparseTensor::new(Rc::clone(finer), Tensor::f_stack(&children, 1)?.f_flatten(0, 1)?)
    }
}

/// For each row of `neighbours` `[N, K]` the rows of `feats` `[M, C]` side by side, times `weight` `[outputs, K · C]`. No
/// more than `gathered` numbers lie side by side at a time, which bounds the memory it takes.
fn gather_and_multiply(
    feats: &Tensor,
    neighbours: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    gathered: i64,
) -> Result<Tensor> {
    let width = weight.size2()?.1;
    let multiply = |rows: &Tensor| -> Result<Tensor> {
        let side_by_side = feats.f_index_select(0, &rows.f_flatten(0, 1)?)?.f_view([-1, width])?;
        Ok(side_by_side.f_linear(weight, Some(bias))?)
    };
    let chunks = neighbours.f_split((gathered / width).max(1), 0)?;
    Ok(Tensor::f_cat(&chunks.iter().map(multiply).collect::<Result<Vec<_>>>()?, 0)?)
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
    use tch::Device;

    use super::*;

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

        let grid = Grid::new(active.constant_pad_nd([1, 0])).unwrap();
        let neighbours = grid.neighbours().unwrap();
        let padded = with_zero_row(&feats).unwrap();
        let chunked =
            gather_and_multiply(&padded, neighbours, &weight.flatten(1, -1), &bias, 7 * 27 * 4).unwrap();
        let error = (chunked - expected).abs().max().double_value(&[]);
        assert!(error < 1e-5, "{error}");
    }

    #[test]
    fn subdividing_at_once_gives_what_subdividing_first_gives() {
        tch::manual_seed(4);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let active = random(&[5, 5, 5]).gt(0.3).nonzero().to_kind(Kind::Int).constant_pad_nd([1, 0]);
        let x = SparseTensor::new(Grid::new(active.copy()).unwrap(), random(&[active.size()[0], 4])).unwrap();
        let finer = x.grid().subdivided().unwrap();
        let (weight, bias) = (random(&[5, 27, 4]), random(&[5]));
        let slow = Convolution { weight: weight.flatten(1, -1), by_tap: OnceCell::new(), bias: bias.copy() };
        let slow = slow.forward(&x.subdivide(&finer).unwrap()).unwrap();
        let fast = SubdividingConvolution::new(&weight, bias).unwrap().forward(&x, &finer).unwrap();
        let error = (fast.feats() - slow.feats()).abs().max().double_value(&[]);
        assert!(error < 1e-5, "{error}");
    }
}
