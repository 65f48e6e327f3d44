//! From images of an object to a mesh of it.

mod folder;
mod options;
mod progress;
mod stages;

use std::path::Path;

use tch::{Device, Kind};

pub use folder::{ModelFolder, Normalization, Role};
pub use options::{Options, Quality, StageOptions};
pub use progress::{Observer, Progress, Stage, StageTiming};
pub use stages::OnStep;

use crate::Result;
use crate::device::DeviceChoice;
use crate::dinov2::DinoV2;
use crate::sparse_structure::{SparseStructureDecoder, SparseStructureFlow};
use crate::weights::Placement;

/// How precise the torsos of flow models and decoders compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits, for comparison and for CPUs.
    F32,
    /// 16 bits, as released.
    F16,
}

/// Where and how a model is loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions {
    /// The device to compute on.
    pub device: DeviceChoice,
    /// The torsos' precision; left out: F16 on CUDA, F32 on the CPU.
    pub precision: Option<Precision>,
}

impl LoadOptions {
    fn placement(self) -> Result<Placement> {
        let device = self.device.resolve()?;
        let precision =
            self.precision.unwrap_or(if device.is_cuda() { Precision::F16 } else { Precision::F32 });
        let torso = match precision {
            Precision::F32 => Kind::Float,
            Precision::F16 => Kind::Half,
        };
        Ok(Placement { device, torso, read: true })
    }
}

/// The models of a folder, in the memory of a device.
#[derive(Debug)]
pub struct Pipeline {
    device: Device,
    folder: ModelFolder,
    encoder: DinoV2,
    structure_flow: SparseStructureFlow,
    structure_decoder: SparseStructureDecoder,
}

impl Pipeline {
    /// Loads the models that turn images into meshes from a folder in the released layout.
    ///
    /// # Errors
    /// When the folder, one of its models or the device is not as it must be.
    pub fn load(folder: &Path, options: LoadOptions) -> Result<Self> {
        let placement = options.placement()?;
        let folder = ModelFolder::open(folder)?;
        // All descriptions first: what is missing shows before gigabytes are read.
        let [encoder, structure_flow, structure_decoder, ..] = Role::ALL.map(|role| folder.checkpoint(role));
        let (encoder, structure_flow, structure_decoder) = (encoder?, structure_flow?, structure_decoder?);
        Ok(Self {
            device: placement.device,
            encoder: DinoV2::load(&encoder, placement)?,
            structure_flow: SparseStructureFlow::load(&structure_flow, placement)?,
            structure_decoder: SparseStructureDecoder::load(&structure_decoder, placement)?,
            folder,
        })
    }

    /// The device that the models are on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The folder that the models come from.
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }
}
