//! A folder's encoder and flows: from an input to structured latents.

use std::rc::Rc;

use image::RgbaImage;
use tch::{Device, Tensor};

use super::{Modality, ModelFolder, Normalization, Role};
use crate::background::BackgroundRemover;
use crate::clip::TextEncoder;
use crate::dinov2::DinoV2;
use crate::finite::check_finite;
use crate::sampler::{Condition, Sampling, sample};
use crate::slat::{FlowOnGrid, SlatFlow};
use crate::sparse::Grid;
use crate::sparse_structure::SparseStructureFlow;
use crate::weights::Placement;
use crate::{Error, Result, image as photo};

/// Is called with the steps done and the sample after each sampling step; its error ends the run.
pub type OnStep<'a> = dyn FnMut(usize, &Tensor) -> Result<()> + 'a;

/// The models of a folder that no other pipeline shares, in the memory of a device.
#[derive(Debug)]
pub struct Generator {
    folder: ModelFolder,
    device: Device,
    background: BackgroundRemover,
    encoder: Encoder,
    structure_flow: SparseStructureFlow,
    slat_flow: SlatFlow,
}

#[derive(Debug)]
enum Encoder {
    Image(DinoV2),
    /// With the empty prompt's encoding, which guidance moves away from.
    Text(Box<TextEncoder>, Tensor),
}

impl Generator {
    pub(super) fn load(folder: ModelFolder, placement: Placement) -> Result<Self> {
        let slat_flow = SlatFlow::load(&folder.checkpoint(Role::SlatFlow)?, placement)?;
        folder.check_normalization(slat_flow.channels())?;
        let encoder = match folder.modality() {
            Modality::Image => {
                Encoder::Image(DinoV2::load(&folder.checkpoint(Role::ImageEncoder)?, placement)?)
            }
            Modality::Text => {
                let _no_grad = tch::no_grad_guard();
                let encoder = TextEncoder::load(&folder.checkpoint(Role::TextEncoder)?, placement)?;
                let negative = encoder.encode("")?;
                Encoder::Text(Box::new(encoder), negative)
            }
        };
        let structure_flow = folder.checkpoint(Role::SparseStructureFlow)?;
        Ok(Self {
            device: placement.device,
            background: BackgroundRemover::in_folder(folder.root()),
            encoder,
            structure_flow: SparseStructureFlow::load(&structure_flow, placement)?,
            slat_flow,
            folder,
        })
    }

    /// The folder that the models come from.
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }

    /// Each image's encoding, `[1, tokens, width]`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when an image cannot be used, or this is a text model.
    pub fn encode_images(&self, images: &[RgbaImage]) -> Result<Vec<Tensor>> {
        let Encoder::Image(encoder) = &self.encoder else { return Err(unlike(Modality::Image)) };
        let encode = |image| {
            let object = self.background.remove(image)?;
            encoder.encode(&photo::to_tensor(&photo::preprocess(&object)?, self.device)?)
        };
        images.iter().map(encode).collect()
    }

    /// A prompt's encoding, `[1, tokens, width]`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the prompt is too long, or this is an image model.
    pub fn encode_prompt(&self, prompt: &str) -> Result<Tensor> {
        match &self.encoder {
            Encoder::Text(encoder, _) => encoder.encode(prompt),
            Encoder::Image(_) => Err(unlike(Modality::Text)),
        }
    }

    /// What samples that move towards an encoding like `wanted` move away from.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn negative(&self, wanted: &Tensor) -> Result<Tensor> {
        match &self.encoder {
            Encoder::Image(_) => Ok(wanted.f_narrow(0, 0, 1)?.f_zeros_like()?),
            Encoder::Text(_, negative) => Ok(negative.shallow_clone()),
        }
    }

    /// The shape of the noise that structures of `samples` samples start from.
    pub fn structure_noise_shape(&self, samples: usize) -> [i64; 5] {
        self.structure_flow.noise_shape(samples as i64)
    }

    /// The shape of the noise that latents of so many voxels start from.
    pub fn slat_noise_shape(&self, voxels: i64) -> [i64; 2] {
        [voxels, self.slat_flow.channels()]
    }

    /// Latents `[B, 8, 16, 16, 16]` of sparse structures, sampled.
    ///
    /// # Errors
    /// When numbers overflow, or libtorch or `on_step` fails.
    pub fn sample_structure(
        &self,
        noise: Tensor,
        condition: &Condition,
        sampling: &Sampling,
        on_step: &mut OnStep,
    ) -> Result<Tensor> {
        let latent = sample(&self.structure_flow, noise, condition, sampling, on_step)?;
        check_finite(&latent, "the sparse-structure flow")?;
        Ok(latent)
    }

    /// Structured latents `[N, 8]` of the voxels, sampled, in the flow's normalised space.
    ///
    /// # Errors
    /// When numbers overflow, or libtorch or `on_step` fails.
    pub fn sample_slat(
        &self,
        noise: Tensor,
        grid: &Rc<Grid>,
        condition: &Condition,
        sampling: &Sampling,
        on_step: &mut OnStep,
    ) -> Result<Tensor> {
        let slat = sample(&FlowOnGrid { model: &self.slat_flow, grid }, noise, condition, sampling, on_step)?;
        check_finite(&slat, "the structured-latent flow")?;
        Ok(slat)
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
}

/// An input came to the wrong kind of model.
pub(super) fn unlike(modality: Modality) -> Error {
    let (wanted, other) = match modality {
        Modality::Image => ("image", "text"),
        Modality::Text => ("text", "image"),
    };
    Error::InvalidInput(format!(
        "the model that is loaded takes {other} input; send that, or load a TRELLIS {wanted} model"
    ))
}
