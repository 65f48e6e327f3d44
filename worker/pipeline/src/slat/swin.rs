//! The transformer block of the decoders.

use std::rc::Rc;

use crate::Result;
use crate::nn::{LayerNorm, Mlp, Residual, SelfAttention};
use crate::sparse::{Grid, SparseTensor, Windows, windowed_attention};
use crate::weights::Weights;

const EPS: f64 = 1e-6;

/// Self-attention within windows, then a perceptron; norms without affine.
#[derive(Debug)]
pub struct SwinBlock {
    norm: LayerNorm,
    attention: SelfAttention,
    mlp: Mlp,
}

impl SwinBlock {
    /// Takes `attn` and `mlp`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, channels: i64, heads: i64, hidden: i64, qk_norm: bool) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::plain(channels, EPS),
            attention: SelfAttention::load(&weights.at("attn"), channels, heads, qk_norm)?,
            mlp: Mlp::load(&weights.at("mlp"), channels, hidden)?,
        })
    }

    /// `[N, channels]` to the same; `windows` are of the grid of `x`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, x: &SparseTensor, windows: &Windows) -> Result<SparseTensor> {
        let mut stream = Residual::new(x.feats().f_alias_copy()?, x.feats().f_kind()?, None);
        self.add_to(&mut stream, x.grid(), windows)?;
        x.with(stream.finish()?)
    }

    /// The same on a stream with a row for each voxel of `grid`.
    pub(super) fn add_to(&self, stream: &mut Residual, grid: &Rc<Grid>, windows: &Windows) -> Result<()> {
        let normal = SparseTensor::new(Rc::clone(grid), stream.norm(&self.norm, None)?)?;
        let attended = windowed_attention(&self.attention, &normal, windows)?;
        stream.add(attended.feats().shallow_clone(), None)?;
        let mixed = self.mlp.forward(&stream.norm(&self.norm, None)?)?;
        stream.add(mixed, None)
    }
}
