//! Linear layers and the perceptron of a transformer block.

use tch::Tensor;

use crate::Result;
use crate::kernels::linear_gelu::linear_gelu;
use crate::weights::Weights;

/// y = x Wᵀ + b over the last dimension.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Takes `weight [outputs, inputs]` and `bias [outputs]`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        Ok(Self {
            weight: weights.tensor("weight", &[outputs, inputs])?,
            bias: weights.tensor("bias", &[outputs])?,
        })
    }

    /// The convolution of an RGB image with stride equal to its kernel, as a linear layer of flattened patches: takes
    /// `weight [outputs, 3, size, size]`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn from_patches(weights: &Weights, size: i64, outputs: i64) -> Result<Self> {
        let weight = weights.tensor("weight", &[outputs, 3, size, size])?;
        Ok(Self { weight: weight.f_flatten(1, -1)?, bias: weights.tensor("bias", &[outputs])? })
    }

    /// `[.., inputs]` to `[.., outputs]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// Linear, tanh-approximated GELU, linear; stored as `mlp.0` and `mlp.2`.
#[derive(Debug)]
pub struct Mlp {
    up: Linear,
    down: Linear,
}

impl Mlp {
    /// A perceptron that widens `channels` to `hidden` and back.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64, hidden: i64) -> Result<Self> {
        let layers = weights.at("mlp");
        Ok(Self {
            up: Linear::load(&layers.at(0), channels, hidden)?,
            down: Linear::load(&layers.at(2), hidden, channels)?,
        })
    }

    /// `[.., channels]` to the same.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = match linear_gelu(x, &self.up.weight, &self.up.bias)? {
            Some(hidden) => hidden,
            None => self.up.forward(x)?.f_gelu_("tanh")?,
        };
        self.down.forward(&hidden)
    }
}
