//! The residual block around the flow's transformer.

use std::rc::Rc;

use tch::Tensor;

use crate::Result;
use crate::nn::{LayerNorm, Linear};
use crate::sparse::{Convolution, Grid, SparseTensor};
use crate::weights::Weights;

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

    /// `x` `[N, inputs]` and the embedded time `[B, time]` to `[M, outputs]`.
    ///
    /// # Errors
    /// When libtorch fails or `x` does not come from the grid to return to.
    pub fn forward(&self, x: &SparseTensor, time: &Tensor, resampling: &Resampling) -> Result<SparseTensor> {
        let resampled = match resampling {
            Resampling::Same => None,
            Resampling::Down => Some(x.downsample()?),
            Resampling::Up(finer) => Some(x.upsample(finer)?),
        };
        let x = resampled.as_ref().unwrap_or(x);
        let grid = x.grid();
        // Scale comes before shift here, unlike in the transformer's blocks.
        let modulation = grid.spread(&self.modulation.forward(&time.f_silu()?)?)?.f_chunk(2, 1)?;
        let h = self.conv1.forward(&x.with(self.norm1.forward_silu(x.feats())?)?)?;
        let mut h = self.norm2.forward(h.feats())?;
        if let [scale, shift] = &modulation[..] {
            h = h.f_mul(&scale.f_add_scalar(1.0)?)?.f_add(shift)?;
        }
        let around = match &self.skip {
            Some(skip) => &skip.forward(x.feats())?,
            None => x.feats(),
        };
        self.conv2.forward_around(&x.with(h.f_silu()?)?, around)
    }
}
