//! The block that doubles the resolution in the mesh decoder.

use crate::Result;
use crate::sparse::{Convolution, GroupNorm, PointwiseConvolution, SparseTensor, SubdividingConvolution};
use crate::weights::Weights;

/// Divides each voxel into eight, with two convolutions and a way around them.
#[derive(Debug)]
pub struct SubdivideBlock {
    norm1: GroupNorm,
    conv1: SubdividingConvolution,
    norm2: GroupNorm,
    conv2: Convolution,
    skip: Option<PointwiseConvolution>,
}

impl SubdivideBlock {
    /// A block from `inputs` to `outputs` channels, both divisible by `groups`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, inputs: i64, outputs: i64, groups: i64) -> Result<Self> {
        let layers = weights.at("out_layers");
        let skip = || PointwiseConvolution::load(&weights.at("skip_connection"), inputs, outputs);
        Ok(Self {
            norm1: GroupNorm::load(&weights.at("act_layers").at(0), inputs, groups)?,
            conv1: SubdividingConvolution::load(&layers.at(0), inputs, outputs)?,
            norm2: GroupNorm::load(&layers.at(1), outputs, groups)?,
            conv2: Convolution::load(&layers.at(3), outputs, outputs)?,
            skip: (inputs != outputs).then(skip).transpose()?,
        })
    }

    /// `[N, inputs]` to `[8 N, outputs]` at twice the resolution.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor) -> Result<SparseTensor> {
        let finer = x.grid().subdivided()?;
        let h = self.conv1.forward(&self.norm1.forward_silu(x)?, &finer)?;
        let h = self.norm2.forward_silu(&h)?;
        // A kernel of one gives all children of a voxel the same: apply it before they are divided.
        match &self.skip {
            Some(skip) => self.conv2.forward_around_divided(&h, &skip.forward(x)?),
            None => self.conv2.forward_around_divided(&h, x),
        }
    }
}
