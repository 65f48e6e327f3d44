//! The stages of a request, one by one: what [`Pipeline::generate`](super::Pipeline::generate) runs in a row.

use std::rc::Rc;

use image::RgbaImage;
use tch::Tensor;

use super::{Normalization, Options, Pipeline};
use crate::flexicubes::Surface;
use crate::noise::Noise;
use crate::sampler::{Condition, Sampling, sample};
use crate::slat::FlowOnGrid;
use crate::sparse::{Grid, SparseTensor};
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

    /// The grid of active voxels of occupancy logits.
    ///
    /// # Errors
    /// [`Error::Empty`] when there are none.
    pub fn find_voxels(&self, logits: &Tensor) -> Result<Rc<Grid>> {
        let coords = active_voxels(logits)?;
        if coords.size2()?.0 == 0 { Err(Error::Empty("no active voxel")) } else { Grid::new(coords) }
    }

    /// Structured latents `[N, 8]` of the voxels, sampled, in the flow's normalised space.
    ///
    /// # Errors
    /// When libtorch or `on_step` fails.
    pub fn sample_slat(
        &self,
        noise: &mut Noise,
        grid: &Rc<Grid>,
        condition: &Condition,
        sampling: &Sampling,
        on_step: &mut OnStep,
    ) -> Result<Tensor> {
        let noise = noise.draw(&[grid.len(), self.slat_flow.channels()], self.device)?;
        sample(&FlowOnGrid { model: &self.slat_flow, grid }, noise, condition, sampling, on_step)
    }

    /// The latents as decoders take them: times deviation plus mean, per channel.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn denormalize(&self, slat: &Tensor) -> Result<Tensor> {
        let per_channel = |values: &[f32]| Tensor::f_from_slice(values)?.f_to_device(self.device);
        let Normalization { mean, std } = self.folder.slat_normalization();
        Ok(slat.f_mul(&per_channel(std)?)?.f_add(&per_channel(mean)?)?)
    }

    /// The surface that latents on a grid decode to.
    ///
    /// # Errors
    /// [`Error::Empty`] when there is none.
    pub fn extract_surface(&self, grid: &Rc<Grid>, slat: Tensor) -> Result<Surface> {
        let surfaces = self.mesh_decoder.surfaces(&SparseTensor::new(Rc::clone(grid), slat)?)?;
        let found = surfaces.into_iter().next().filter(|surface| !surface.faces.is_empty());
        found.ok_or(Error::Empty("no surface"))
    }
}
