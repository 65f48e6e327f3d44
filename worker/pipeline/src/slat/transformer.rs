//! The transformer with shifted windows that decoders and encoder share (Liu et al., "Swin Transformer", 2021; SPEC
//! section 6).

use serde::Deserialize;
use tch::Kind;

use super::swin::SwinBlock;
use crate::Result;
use crate::finite::check_finite;
use crate::nn::{Heads, LayerNorm, Linear, Residual, position_embedding};
use crate::sparse::SparseTensor;
use crate::weights::Weights;

/// Of the norm before an output layer.
const OUTPUT_EPS: f64 = 1e-5;

/// Constructor arguments of the reference's `SparseTransformerBase`.
#[derive(Debug, Clone, Deserialize)]
pub struct TransformerConfig {
    /// Voxels along a side of the grid.
    pub resolution: u16,
    /// Width of a token.
    pub model_channels: i64,
    /// Transformer blocks.
    pub num_blocks: i64,
    /// Its attention heads.
    #[serde(flatten)]
    pub heads: Heads,
    /// Hidden over outer width of the perceptron.
    pub mlp_ratio: f64,
    /// Which voxels attend to one another; only `swin`, the released one, is known.
    pub attn_mode: String,
    /// Voxels along a side of a window.
    pub window_size: i64,
    /// Position encoding; only `ape`, the released one, is known.
    #[serde(default = "ape")]
    pub pe_mode: String,
    /// Normalise queries and keys.
    #[serde(default)]
    pub qk_rms_norm: bool,
}

fn ape() -> String {
    "ape".to_owned()
}

impl TransformerConfig {
    /// What keeps this program from running such a model, if anything.
    pub(super) fn objection(&self) -> Option<String> {
        if self.attn_mode != "swin" || self.window_size < 1 {
            return Some(format!("attn_mode {:?} is not supported, only \"swin\"", self.attn_mode));
        }
        if self.pe_mode != "ape" {
            return Some(format!("pe_mode {:?} is not supported, only \"ape\"", self.pe_mode));
        }
        let (channels, heads) = (self.model_channels, self.heads.of(self.model_channels));
        if heads < 1 || channels % heads != 0 {
            return Some(format!("{heads} heads do not divide model_channels {channels}"));
        }
        (self.resolution == 0 || self.resolution > 256)
            .then(|| format!("resolution {} is not supported, only 1 to 256", self.resolution))
    }
}

/// Input layer, position, blocks; windows move by half their size in every other block.
#[derive(Debug)]
pub struct SwinTransformer {
    torso: Kind,
    channels: i64,
    window_size: i64,
    input: Linear,
    blocks: Vec<SwinBlock>,
}

impl SwinTransformer {
    /// Takes `input_layer` for values of `inputs` channels, and `blocks`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, config: &TransformerConfig, inputs: i64) -> Result<Self> {
        let (torso, channels, heads) =
            (weights.torso(), config.model_channels, config.heads.of(config.model_channels));
        let hidden = (channels as f64 * config.mlp_ratio) as i64;
        let block = |index| {
            SwinBlock::load(&torso.at("blocks").at(index), channels, heads, hidden, config.qk_rms_norm)
        };
        Ok(Self {
            torso: torso.kind(),
            channels,
            window_size: config.window_size,
            input: Linear::load(&weights.at("input_layer"), inputs, channels)?,
            blocks: (0..config.num_blocks).map(block).collect::<Result<_>>()?,
        })
    }

    /// Values `[N, inputs]` in f32 to tokens `[N, channels]` in the torso's kind.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, values: &SparseTensor) -> Result<SparseTensor> {
        let grid = values.grid();
        let position = position_embedding(&grid.positions()?, self.channels)?;
        let tokens = self.input.forward(values.feats())?.f_add(&position)?.f_to_kind(self.torso)?;
        let size = self.window_size;
        let windows = [grid.windows(size, 0)?, grid.windows(size, size / 2)?];
        let mut stream = Residual::new(tokens, self.torso, None);
        for (block, windows) in self.blocks.iter().zip(windows.iter().cycle()) {
            block.add_to(&mut stream, grid, windows)?;
        }
        values.with(stream.finish()?)
    }
}

/// A transformer whose tokens are normalised and projected: what each voxel's latent, or feature, says.
#[derive(Debug)]
pub struct SwinProjection {
    transformer: SwinTransformer,
    norm: LayerNorm,
    output: Linear,
}

impl SwinProjection {
    /// Takes `input_layer`, `blocks` and `out_layer`.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, config: &TransformerConfig, inputs: i64, outputs: i64) -> Result<Self> {
        let channels = config.model_channels;
        Ok(Self {
            transformer: SwinTransformer::load(weights, config, inputs)?,
            norm: LayerNorm::plain(channels, OUTPUT_EPS),
            output: Linear::load(&weights.at("out_layer"), channels, outputs)?,
        })
    }

    /// `[N, inputs]` to `[N, outputs]`, both in f32.
    ///
    /// # Errors
    /// When the model's numbers overflow or libtorch fails.
    pub fn forward(&self, values: &SparseTensor) -> Result<SparseTensor> {
        let tokens = self.transformer.forward(values)?;
        let single = tokens.feats().f_to_kind(values.feats().f_kind()?)?;
        let output = self.output.forward(&self.norm.forward(&single)?)?;
        check_finite(&output, "a decoder of structured latents")?;
        values.with(output)
    }
}
