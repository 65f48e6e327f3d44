//! The stages of a request, one by one: what [`Pipeline::generate`](super::Pipeline::generate) runs in a row.

use image::RgbaImage;
use tch::Tensor;

use super::{Options, Pipeline};
use crate::noise::Noise;
use crate::sampler::{Condition, Sampling, sample};
use crate::sparse_structure::active_voxels;
use crate::{Error, Result, image as photo};

/// Is called with the steps done and the sample after each sampling step; its error ends the run.
pub type OnStep<'a> = dyn FnMut(usize, &Tensor) -> Result<()> + 'a;

impl Pipeline {
    /// What the samplers follow: each image encoded, and zeros to move away from.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there is no image, or one cannot be used.
    pub fn condition(&self, images: &[RgbaImage], options: &Options) -> Result<Condition> {
        let encode = |image| self.encoder.encode(&photo::to_tensor(&photo::preprocess(image)?, self.device)?);
        let encoded = images.iter().map(encode).collect::<Result<Vec<_>>>()?;
        let first = encoded
            .first()
            .ok_or_else(|| Error::InvalidInput("no image was given; send at least one".into()))?;
        let negative = first.f_zeros_like()?;
        Ok(Condition { images: encoded, negative, multi_image: options.multi_image })
    }

    /// A latent `[1, 8, 16, 16, 16]` of the sparse structure, sampled.
    ///
    /// # Errors
    /// When libtorch or `on_step` fails.
    pub fn sample_structure(
        &self,
        noise: &mut Noise,
        condition: &Condition,
        sampling: &Sampling,
        on_step: &mut OnStep,
    ) -> Result<Tensor> {
        let noise = noise.draw(&self.structure_flow.noise_shape(1), self.device)?;
        sample(&self.structure_flow, noise, condition, sampling, on_step)
    }

    /// Occupancy logits `[1, 1, 64, 64, 64]` of a latent.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn decode_structure(&self, latent: &Tensor) -> Result<Tensor> {
        self.structure_decoder.forward(latent)
    }

    /// The active voxels of occupancy logits, int32 `[N, 4]` = (batch, x, y, z).
    ///
    /// # Errors
    /// [`Error::Empty`] when there are none.
    pub fn find_voxels(&self, logits: &Tensor) -> Result<Tensor> {
        let coords = active_voxels(logits)?;
        if coords.size2()?.0 == 0 { Err(Error::Empty("no active voxel")) } else { Ok(coords) }
    }
}
