//! Layers on dense grids, `[batch, channels, x, y, z]`. In f16 the channels of a voxel lie side by side in memory: so do
//! norms read them, and cuDNN's convolutions are several times faster.

use tch::{Kind, Tensor};

use crate::Result;
use crate::kernels::dense_conv;
use crate::nn::LayerNorm;
use crate::weights::Weights;

/// Of the dense norms; the transformers' is 1e-6.
const EPS: f64 = 1e-5;
const GROUPS: i64 = 32;

/// A convolution with a 3³ kernel that keeps the grid's size, or with one of 2³ that halves it.
#[derive(Debug)]
pub(super) struct Conv3d {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv3d {
    pub(super) fn load(weights: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        Ok(Self {
            weight: arranged(&weights.tensor("weight", &[outputs, inputs, 3, 3, 3])?)?,
            bias: weights.tensor("bias", &[outputs])?,
            stride: 1,
            padding: 1,
        })
    }

    pub(super) fn halving(weights: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        Ok(Self {
            weight: arranged(&weights.tensor("weight", &[outputs, inputs, 2, 2, 2])?)?,
            bias: weights.tensor("bias", &[outputs])?,
            stride: 2,
            padding: 0,
        })
    }

    /// The convolution to one channel, for which cuDNN has no fast algorithm.
    fn forward_one(&self, x: &Tensor) -> Result<Option<Tensor>> {
        if self.stride != 1 || self.bias.numel() != 1 {
            return Ok(None);
        }
        let by_voxel = |x: &Tensor| x.f_movedim_int(1, -1)?.f_contiguous();
        dense_conv::convolve_to_one(&by_voxel(x)?, &by_voxel(&self.weight)?, &self.bias)
    }

    /// On CUDA the same algorithm each time, and no TF32: its 10 bits of fraction would move voxels.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(result) = self.forward_one(x)? {
            return Ok(result);
        }
        let (transposed, benchmark, deterministic, cudnn, tf32) = (false, false, true, true, false);
        Ok(arranged(x)?.f_internal_convolution(
            &self.weight,
            Some(&self.bias),
            [self.stride; 3],
            [self.padding; 3],
            [1; 3],
            transposed,
            [0; 3],
            1,
            benchmark,
            deterministic,
            cudnn,
            tf32,
        )?)
    }
}

/// The same tensor in the order in memory that convolutions of its kind are fast in.
pub(super) fn arranged(x: &Tensor) -> Result<Tensor> {
    if x.f_kind()? == Kind::Half {
        Ok(x.f_movedim_int(1, -1)?.f_contiguous()?.f_movedim_int(-1, 1)?)
    } else {
        Ok(x.f_contiguous()?)
    }
}

/// A norm with scale and shift per channel.
#[derive(Debug)]
pub(super) enum Norm {
    /// Over the channels of each voxel.
    Layer(LayerNorm),
    /// Over groups of channels of the whole grid.
    Group { weight: Tensor, bias: Tensor },
}

impl Norm {
    pub(super) fn layer(weights: &Weights, channels: i64) -> Result<Self> {
        LayerNorm::affine(weights, channels, EPS).map(Self::Layer)
    }

    pub(super) fn group(weights: &Weights, channels: i64) -> Result<Self> {
        Ok(Self::Group {
            weight: weights.float("weight", &[channels])?,
            bias: weights.float("bias", &[channels])?,
        })
    }

    /// SiLU of the norm.
    pub(super) fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Layer(norm) => Ok(norm.forward_silu(&x.f_movedim_int(1, -1)?)?.f_movedim_int(-1, 1)?),
            Self::Group { weight, bias } => {
                let normalised =
                    x.f_to_kind(Kind::Float)?.f_group_norm(GROUPS, Some(weight), Some(bias), EPS, true)?;
                Ok(normalised.f_to_kind(x.f_kind()?)?.f_silu()?)
            }
        }
    }
}

/// Norm, SiLU, convolution, twice, added to the input.
#[derive(Debug)]
pub(super) struct ResBlock {
    norm1: Norm,
    conv1: Conv3d,
    norm2: Norm,
    conv2: Conv3d,
}

impl ResBlock {
    pub(super) fn load(weights: &Weights, channels: i64) -> Result<Self> {
        Ok(Self {
            norm1: Norm::layer(&weights.at("norm1"), channels)?,
            conv1: Conv3d::load(&weights.at("conv1"), channels, channels)?,
            norm2: Norm::layer(&weights.at("norm2"), channels)?,
            conv2: Conv3d::load(&weights.at("conv2"), channels, channels)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&self.norm1.forward_silu(x)?)?;
        let h = self.conv2.forward(&self.norm2.forward_silu(&h)?)?;
        Ok(x.f_add(&h)?)
    }
}

/// Doubles the grid: eight times the channels, then each voxel's channels `c·8 + 4·dx + 2·dy + dz` become its children.
#[derive(Debug)]
pub(super) struct Upsample(Conv3d);

impl Upsample {
    pub(super) fn load(weights: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        let Conv3d { weight, bias, stride, padding } =
            Conv3d::load(&weights.at("conv"), inputs, 8 * outputs)?;
        // A child's channels side by side: then they move together.
        let by_child = |x: &Tensor| x.f_unflatten(0, [outputs, 8])?.f_transpose(0, 1)?.f_flatten(0, 1);
        let weight = arranged(&by_child(&weight)?)?;
        Ok(Self(Conv3d { weight, bias: by_child(&bias)?, stride, padding }))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let children = self.0.forward(x)?.f_movedim_int(1, -1)?.f_unflatten(-1, [2, 2, 2, -1])?;
        let children = children.f_permute([0, 1, 4, 2, 5, 3, 6, 7])?;
        Ok(children.f_flatten(5, 6)?.f_flatten(3, 4)?.f_flatten(1, 2)?.f_movedim_int(-1, 1)?)
    }
}
