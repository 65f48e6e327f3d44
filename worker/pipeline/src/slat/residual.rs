//! The residual block around the flow's transformer.

use std::rc::Rc;

use tch::Tensor;

use crate::nn::{LayerNorm, Linear, Residual};
use crate::sparse::{Convolution, Grid, SparseTensor};
use crate::weights::Weights;
use crate::{Error, Result};

const EPS: f64 = 1e-6;

/// What a block does to the resolution before anything else.
#[derive(Debug, Clone)]
pub enum Resampling {
    /// Nothing.
    Same,
    /// Halve it.
    Down,
    /// Return to this grid, which was halved before.
    Up(Rc<Grid>),
}

/// Two convolutions, the second modulated by the time, and a way around them.
#[derive(Debug)]
pub struct ResidualBlock {
    norm1: LayerNorm,
    conv1: Convolution,
    modulation: Linear,
    norm2: LayerNorm,
    conv2: Convolution,
    skip: Option<Linear>,
}

impl ResidualBlock {
    /// A block from `inputs` to `outputs` channels; `time` is the width of the embedded time.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, inputs: i64, time: i64, outputs: i64) -> Result<Self> {
        let skip = || Linear::load(&weights.at("skip_connection"), inputs, outputs);
        Ok(Self {
            norm1: LayerNorm::affine(&weights.at("norm1"), inputs, EPS)?,
            conv1: Convolution::load(&weights.at("conv1"), inputs, outputs)?,
            modulation: Linear::load(&weights.at("emb_layers").at(1), time, 2 * outputs)?,
            norm2: LayerNorm::plain(outputs, EPS),
            conv2: Convolution::load(&weights.at("conv2"), outputs, outputs)?,
            skip: (inputs != outputs).then(skip).transpose()?,
        })
    }

    /// Scale and shift at embedded times `[T, time]`: `[T, 2 · outputs]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn modulation(&self, time: &Tensor) -> Result<Tensor> {
        self.modulation.forward(&time.f_silu()?)
    }

    /// `x` `[N, inputs]` to `[M, outputs]`, with a modulation `[1 or samples, 2 · outputs]`.
    ///
    /// # Errors
    /// When libtorch fails or `x` does not come from the grid to return to.
    pub fn forward(
        &self,
        x: &SparseTensor,
        modulation: &Tensor,
        resampling: &Resampling,
    ) -> Result<SparseTensor> {
        let halved = match resampling {
            Resampling::Down => Some(x.downsample()?),
            Resampling::Same | Resampling::Up(_) => None,
        };
        let x = halved.as_ref().unwrap_or(x);
        let around = match &self.skip {
            Some(skip) => skip.forward(x.feats())?,
            None => x.feats().shallow_clone(),
        };
        let h = x.with(self.norm1.forward_silu(x.feats())?)?;
        // Copies of a voxel are alike until the convolution: they are made as late as can be.
        let (h, around) = match resampling {
            Resampling::Up(finer) => (
                self.conv1.forward_upsampled(&h, finer)?,
                x.with(around)?.upsample(finer)?.feats().shallow_clone(),
            ),
            Resampling::Same | Resampling::Down => (self.conv1.forward(&h)?, around),
        };
        let h = h.with(self.modulate(h.feats(), h.grid(), modulation)?.f_silu_()?)?;
        self.conv2.forward_around(&h, &around)
    }

    /// The norm between the convolutions.
    fn modulate(&self, h: &Tensor, grid: &Grid, modulation: &Tensor) -> Result<Tensor> {
        // Scale comes before shift here, unlike in the transformer's blocks.
        let mut parts = modulation.f_chunk(2, 1)?;
        let (Some(shift), Some(scale)) = (parts.pop(), parts.pop()) else {
            return Err(Error::Torch("a modulation does not split into two parts".into()));
        };
        let of_row = (modulation.size2()?.0 > 1).then(|| grid.sample_of_row()).transpose()?;
        let mut rows = Residual::new(h.shallow_clone(), h.f_kind()?, of_row);
        rows.norm(&self.norm2, Some((&shift, &scale)))
    }
}
