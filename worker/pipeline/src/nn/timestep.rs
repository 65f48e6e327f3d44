//! Embedding of the flow's time.

use tch::{Device, Kind, Tensor};

use super::Linear;
use crate::Result;
use crate::weights::Weights;

const FREQUENCIES: i64 = 128;
const MAX_PERIOD: f64 = 10_000.0;

/// Cosines and sines of t at 128 frequencies, then Linear, SiLU, Linear.
#[derive(Debug)]
pub struct TimestepEmbedder {
    frequencies: Tensor,
    input: Linear,
    output: Linear,
}

impl TimestepEmbedder {
    /// Takes `mlp.0` and `mlp.2`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64) -> Result<Self> {
        // The argument reaches 1000 rad, where one ulp of a frequency shows: f32 on the CPU, as the reference rounds.
        let frequencies = Tensor::f_arange(FREQUENCIES, (Kind::Float, Device::Cpu))?
            .f_mul_scalar(-MAX_PERIOD.ln())?
            .f_div_scalar(FREQUENCIES as f64)?
            .f_exp()?
            .f_to_device(weights.device())?;
        let mlp = weights.at("mlp");
        Ok(Self {
            frequencies,
            input: Linear::load(&mlp.at(0), 2 * FREQUENCIES, channels)?,
            output: Linear::load(&mlp.at(2), channels, channels)?,
        })
    }

    /// `t` `[B]` in f32, already times 1000, to `[B, channels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, t: &Tensor) -> Result<Tensor> {
        let phase = t.f_unsqueeze(-1)?.f_mul(&self.frequencies)?;
        let waves = Tensor::f_cat(&[phase.f_cos()?, phase.f_sin()?], -1)?;
        self.output.forward(&self.input.forward(&waves)?.f_silu()?)
    }
}
