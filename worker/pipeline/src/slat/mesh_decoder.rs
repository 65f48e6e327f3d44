//! Structured latents to a mesh: a transformer with shifted windows, two steps to four times the resolution, FlexiCubes.

use serde::Deserialize;
use trellis_asset::Mesh;

use super::cubes::CubeLayout;
use super::subdivide::SubdivideBlock;
use super::transformer::{SwinTransformer, TransformerConfig};
use crate::Result;
use crate::finite::check_finite;
use crate::flexicubes::Surface;
use crate::nn::Linear;
use crate::sparse::SparseTensor;
use crate::weights::{Checkpoint, Placement, Weights};

/// Of the group norms.
const GROUPS: i64 = 32;
/// The cubes of the surface are this much finer than the voxels of the latents.
const UPSAMPLING: u16 = 4;

/// Constructor arguments of the reference's `SLatMeshDecoder`.
#[derive(Debug, Clone, Deserialize)]
pub struct MeshDecoderConfig {
    /// Its transformer.
    #[serde(flatten)]
    pub transformer: TransformerConfig,
    /// Channels of a latent.
    pub latent_channels: i64,
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

impl MeshDecoderConfig {
    /// What keeps this program from running such a model, if anything.
    fn objection(&self) -> Option<String> {
        let channels = self.transformer.model_channels;
        self.transformer.objection().or_else(|| {
            (channels % (8 * GROUPS) != 0)
                .then(|| format!("model_channels {channels} must be a multiple of {}", 8 * GROUPS))
        })
    }
}

/// The model.
#[derive(Debug)]
pub struct MeshDecoder {
    layout: CubeLayout,
    transformer: SwinTransformer,
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
            None => checkpoint.build(placement, |weights| Self::new(&config, weights)),
        }
    }

    fn new(config: &MeshDecoderConfig, weights: &Weights) -> Result<Self> {
        let MeshDecoderConfig { transformer, latent_channels, representation_config } = config;
        let channels = transformer.model_channels;
        let layout = CubeLayout::new(UPSAMPLING * transformer.resolution, representation_config.use_color);
        let upsample = weights.torso().at("upsample");
        Ok(Self {
            layout,
            transformer: SwinTransformer::load(weights, transformer, *latent_channels)?,
            upsample: [
                SubdivideBlock::load(&upsample.at(0), channels, channels / 4, GROUPS)?,
                SubdivideBlock::load(&upsample.at(1), channels / 4, channels / 8, GROUPS)?,
            ],
            output: Linear::load(&weights.at("out_layer"), channels / 8, layout.channels())?,
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
        let samples = self.cubes(latents)?.samples()?;
        samples.iter().map(|(coords, feats)| self.layout.surface(coords, feats)).collect()
    }

    /// The channels of all cubes at four times the resolution: `[64 N, channels]` in f32.
    ///
    /// # Errors
    /// As [`MeshDecoder::forward`].
    pub fn cubes(&self, latents: &SparseTensor) -> Result<SparseTensor> {
        let mut h = self.transformer.forward(latents)?;
        for block in &self.upsample {
            h = block.forward(&h)?;
        }
        let cubes = self.output.forward(&h.feats().f_to_kind(latents.feats().f_kind()?)?)?;
        check_finite(&cubes, "the mesh decoder")?;
        h.with(cubes)
    }
}
