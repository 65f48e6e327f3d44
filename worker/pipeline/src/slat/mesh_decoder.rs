//! Structured latents to a mesh: a transformer with shifted windows, two steps to four times the resolution, FlexiCubes.

use serde::Deserialize;
use tch::Kind;
use trellis_asset::Mesh;

use super::cubes::CubeLayout;
use super::subdivide::SubdivideBlock;
use super::swin::SwinBlock;
use crate::flexicubes::{Surface, extract};
use crate::nn::{Linear, position_embedding};
use crate::sparse::SparseTensor;
use crate::weights::{Checkpoint, Placement, Weights};
use crate::{Error, Result};

const DEFAULT_HEAD_CHANNELS: i64 = 64;
/// Of the group norms.
const GROUPS: i64 = 32;
/// The cubes of the surface are this much finer than the voxels of the latents.
const UPSAMPLING: u16 = 4;

/// Constructor arguments of the reference's `SLatMeshDecoder`.
#[derive(Debug, Clone, Deserialize)]
pub struct MeshDecoderConfig {
    /// Voxels along a side of the grid.
    pub resolution: u16,
    /// Width of a token.
    pub model_channels: i64,
    /// Channels of a latent.
    pub latent_channels: i64,
    /// Transformer blocks.
    pub num_blocks: i64,
    /// Attention heads; `None`: as many as heads of `num_head_channels` fit.
    #[serde(default)]
    pub num_heads: Option<i64>,
    /// Width of a head, where `num_heads` is not given.
    #[serde(default)]
    pub num_head_channels: Option<i64>,
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
    /// What is decoded.
    pub representation_config: RepresentationConfig,
}

/// What the decoder predicts beside the surface.
#[derive(Debug, Clone, Deserialize)]
pub struct RepresentationConfig {
    /// Colours and normals.
    #[serde(default)]
    pub use_color: bool,
}

fn ape() -> String {
    "ape".to_owned()
}

impl MeshDecoderConfig {
    fn heads(&self) -> i64 {
        let width = self.num_head_channels.unwrap_or(DEFAULT_HEAD_CHANNELS).max(1);
        self.num_heads.unwrap_or(self.model_channels / width)
    }

    /// What keeps this program from running such a model, if anything.
    fn objection(&self) -> Option<String> {
        if self.attn_mode != "swin" || self.window_size < 1 {
            return Some(format!("attn_mode {:?} is not supported, only \"swin\"", self.attn_mode));
        }
        if self.pe_mode != "ape" {
            return Some(format!("pe_mode {:?} is not supported, only \"ape\"", self.pe_mode));
        }
        let (channels, heads) = (self.model_channels, self.heads());
        if heads < 1 || channels % heads != 0 || channels % (8 * GROUPS) != 0 {
            return Some(format!("model_channels {channels} must be a multiple of {heads} heads and of 256"));
        }
        (self.resolution == 0 || self.resolution > 256)
            .then(|| format!("resolution {} is not supported, only 1 to 256", self.resolution))
    }
}

/// The model.
#[derive(Debug)]
pub struct MeshDecoder {
    config: MeshDecoderConfig,
    torso: Kind,
    layout: CubeLayout,
    input: Linear,
    blocks: Vec<SwinBlock>,
    upsample: [SubdivideBlock; 2],
    output: Linear,
}

impl MeshDecoder {
    /// Loads the model.
    ///
    /// # Errors
    /// When the checkpoint is not an `SLatMeshDecoder` or its tensors do not fit.
    pub fn load(checkpoint: &Checkpoint, placement: Placement) -> Result<Self> {
        let config: MeshDecoderConfig = checkpoint.config("SLatMeshDecoder")?;
        match config.objection() {
            Some(objection) => Err(checkpoint.refuse(objection)),
            None => checkpoint.build(placement, |weights| Self::new(config, weights)),
        }
    }

    fn new(config: MeshDecoderConfig, weights: &Weights) -> Result<Self> {
        let (torso, channels, heads) = (weights.torso(), config.model_channels, config.heads());
        let hidden = (channels as f64 * config.mlp_ratio) as i64;
        let layout = CubeLayout::new(UPSAMPLING * config.resolution, config.representation_config.use_color);
        let block = |index| {
            SwinBlock::load(&torso.at("blocks").at(index), channels, heads, hidden, config.qk_rms_norm)
        };
        let upsample = torso.at("upsample");
        Ok(Self {
            torso: torso.kind(),
            layout,
            input: Linear::load(&weights.at("input_layer"), config.latent_channels, channels)?,
            blocks: (0..config.num_blocks).map(block).collect::<Result<_>>()?,
            upsample: [
                SubdivideBlock::load(&upsample.at(0), channels, channels / 4, GROUPS)?,
                SubdivideBlock::load(&upsample.at(1), channels / 4, channels / 8, GROUPS)?,
            ],
            output: Linear::load(&weights.at("out_layer"), channels / 8, layout.channels())?,
            config,
        })
    }

    /// A mesh for each sample of latents `[N, C]` in f32; an empty one where no surface was found.
    ///
    /// # Errors
    /// When the model's numbers overflow or libtorch fails.
    pub fn forward(&self, latents: &SparseTensor) -> Result<Vec<Mesh>> {
        Ok(self.surfaces(latents)?.into_iter().map(Surface::into_mesh).collect())
    }

    /// The surface of each sample, with colour and predicted normal as its six attributes.
    ///
    /// # Errors
    /// As [`MeshDecoder::forward`].
    pub fn surfaces(&self, latents: &SparseTensor) -> Result<Vec<Surface>> {
        let cubes = self.cubes(latents)?;
        let lengths = cubes.grid().lengths();
        let coords = cubes.grid().positions()?.f_split_with_sizes(lengths, 0)?;
        let feats = cubes.feats().f_split_with_sizes(lengths, 0)?;
        coords
            .iter()
            .zip(&feats)
            .map(|(coords, feats)| Ok(extract(&self.layout.field(coords, feats)?)))
            .collect()
    }

    /// The channels of all cubes at four times the resolution: `[64 N, channels]` in f32.
    ///
    /// # Errors
    /// As [`MeshDecoder::forward`].
    pub fn cubes(&self, latents: &SparseTensor) -> Result<SparseTensor> {
        let mut h = self.transform(latents)?;
        for block in &self.upsample {
            h = block.forward(&h)?;
        }
        let cubes = self.output.forward(&h.feats().f_to_kind(latents.feats().f_kind()?)?)?;
        if cubes.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Err(Error::Torch(
                "the mesh decoder gave numbers that are not finite; compute in f32".to_owned(),
            ));
        }
        h.with(cubes)
    }

    /// The transformer: windows move by half their size in every other block.
    fn transform(&self, latents: &SparseTensor) -> Result<SparseTensor> {
        let position = position_embedding(&latents.grid().positions()?, self.config.model_channels)?;
        let tokens = self.input.forward(latents.feats())?.f_add(&position)?.f_to_kind(self.torso)?;
        let size = self.config.window_size;
        let windows = [latents.grid().windows(size, 0)?, latents.grid().windows(size, size / 2)?];
        let mut blocks = self.blocks.iter().zip(windows.iter().cycle());
        blocks.try_fold(latents.with(tokens)?, |h, (block, windows)| block.forward(&h, windows))
    }
}
