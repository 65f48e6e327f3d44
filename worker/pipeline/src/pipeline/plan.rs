//! What of a request decides which others it can share forward passes with.

use super::{Input, Modality, ModelFolder, Request};
use crate::Result;
use crate::sampler::{MultiImage, Sampling};

/// How a request is sampled, checked. Requests of equal plans are sampled together.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) modality: Modality,
    /// The first stage's; none where the structure is given.
    pub(super) sparse_structure: Option<Sampling>,
    pub(super) structured_latent: Sampling,
    /// Conditions of each sample, and how they are combined.
    pub(super) conditions: usize,
    pub(super) multi_image: MultiImage,
}

impl Plan {
    /// The plan of a request to a model.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when options are out of range or there is no image.
    pub(super) fn of(request: &Request, folder: &ModelFolder) -> Result<Self> {
        let Request { input, options } = request;
        options.check()?;
        let structure = options.resolve(options.sparse_structure, folder.sparse_structure_sampling())?;
        Ok(Self {
            modality: input.modality(),
            sparse_structure: (!matches!(input, Input::Variant { .. })).then_some(structure),
            structured_latent: options.resolve(options.structured_latent, folder.slat_sampling())?,
            conditions: input.conditions()?,
            multi_image: options.multi_image,
        })
    }
}
