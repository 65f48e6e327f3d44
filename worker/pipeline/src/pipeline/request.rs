//! What comes in and what goes out.

use image::RgbaImage;
use trellis_asset::{Gaussians, Mesh, RadianceField};

use super::{Modality, Options, StageTiming};
use crate::{Error, Result};

/// What assets are made of.
#[derive(Debug, Clone)]
pub enum Input {
    /// One or more images of one object.
    Images(Vec<RgbaImage>),
    /// A description of it.
    Text(String),
    /// A given shape, covered as a text says. Only where the surface passes counts: it is made anew on its voxels.
    Variant {
        /// The shape, z up; it is centred and scaled to the unit cube.
        mesh: Box<Mesh>,
        /// What is to be seen on it.
        prompt: String,
    },
}

impl Input {
    /// The kind of pipeline that it is for.
    pub fn modality(&self) -> Modality {
        match self {
            Self::Images(_) => Modality::Image,
            Self::Text(_) | Self::Variant { .. } => Modality::Text,
        }
    }

    /// How many conditions steer a sample.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there is none.
    pub(super) fn conditions(&self) -> Result<usize> {
        match self {
            Self::Images(images) if images.is_empty() => {
                Err(Error::InvalidInput("no image was given; send at least one".into()))
            }
            Self::Images(images) => Ok(images.len()),
            Self::Text(_) | Self::Variant { .. } => Ok(1),
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// What assets are made of.
    pub input: Input,
    /// How.
    pub options: Options,
}

/// An object that was generated.
#[derive(Debug)]
pub struct Asset {
    /// Its surface, with a colour at each vertex, if asked for.
    pub mesh: Option<Mesh>,
    /// As Gaussians, if asked for.
    pub gaussians: Option<Gaussians>,
    /// As a radiance field, if asked for.
    pub radiance_field: Option<RadianceField>,
    /// The seed that it comes from.
    pub seed: u64,
    /// Which of the request's samples it is, from 0.
    pub sample: usize,
    /// Active voxels of its sparse structure.
    pub voxels: usize,
    /// How long each stage took for all that were made with it.
    pub timings: Vec<StageTiming>,
    /// The most memory of the device that was held meanwhile, in bytes, the model's included: on a GPU by anybody, on the CPU by this
    /// process. `None`: the system does not tell.
    pub peak_memory: Option<u64>,
}
