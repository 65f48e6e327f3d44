//! From images of an object to a mesh of it.

mod folder;
mod options;
mod progress;
mod stages;

use std::path::Path;

use image::RgbaImage;
use tch::{Device, Kind, Tensor};

pub use folder::{ModelFolder, Normalization, Role};
pub use options::{Options, Quality, StageOptions};
use progress::Run;
pub use progress::{Observer, Progress, Stage, StageTiming};
pub use stages::OnStep;

use trellis_asset::Mesh;

use crate::Result;
use crate::device::{DeviceChoice, fix_cpu_lanes};
use crate::dinov2::DinoV2;
use crate::noise::Noise;
use crate::slat::{MeshDecoder, SlatFlow};
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
        if device == Device::Cpu {
            fix_cpu_lanes();
        }
        let precision =
            self.precision.unwrap_or(if device.is_cuda() { Precision::F16 } else { Precision::F32 });
        let torso = match precision {
            Precision::F32 => Kind::Float,
            Precision::F16 => Kind::Half,
        };
        Ok(Placement { device, torso, read: true })
    }
}

/// An object that was generated.
#[derive(Debug)]
pub struct Asset {
    /// Its surface, with a colour at each vertex.
    pub mesh: Mesh,
    /// The seed that it comes from.
    pub seed: u64,
    /// Active voxels of its sparse structure.
    pub voxels: usize,
    /// How long each stage took.
    pub timings: Vec<StageTiming>,
}

/// The models of a folder, in the memory of a device.
#[derive(Debug)]
pub struct Pipeline {
    device: Device,
    folder: ModelFolder,
    encoder: DinoV2,
    structure_flow: SparseStructureFlow,
    structure_decoder: SparseStructureDecoder,
    slat_flow: SlatFlow,
    mesh_decoder: MeshDecoder,
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
        let [encoder, structure_flow, structure_decoder, slat_flow, mesh_decoder] =
            Role::ALL.map(|role| folder.checkpoint(role));
        let (encoder, structure_flow, structure_decoder) = (encoder?, structure_flow?, structure_decoder?);
        let (slat_flow, mesh_decoder) = (slat_flow?, mesh_decoder?);
        let slat_flow = SlatFlow::load(&slat_flow, placement)?;
        folder.check_normalization(slat_flow.channels())?;
        Ok(Self {
            device: placement.device,
            encoder: DinoV2::load(&encoder, placement)?,
            structure_flow: SparseStructureFlow::load(&structure_flow, placement)?,
            structure_decoder: SparseStructureDecoder::load(&structure_decoder, placement)?,
            slat_flow,
            mesh_decoder: MeshDecoder::load(&mesh_decoder, placement)?,
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

    /// Makes one object of one or more images of it. Requests run one at a time.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when an image or option cannot be used, [`Error::Empty`](crate::Error::Empty) when the model finds no object,
    /// [`Error::Cancelled`](crate::Error::Cancelled) when `observer` says so, [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn generate(
        &self,
        images: &[RgbaImage],
        options: &Options,
        observer: &mut Observer,
    ) -> Result<Asset> {
        let _no_grad = tch::no_grad_guard();
        let structure_sampling =
            options.resolve(options.sparse_structure, self.folder.sparse_structure_sampling())?;
        let slat_sampling = options.resolve(options.structured_latent, self.folder.slat_sampling())?;
        let (mut run, mut noise) = (Run::new(self.device, observer), Noise::new(options.seed));

        let condition = run.stage(Stage::Encode, |_| self.condition(images, options))?;
        let grid = run.stage(Stage::SparseStructure, |report| {
            let on_step = &mut |step, _: &Tensor| report(step, structure_sampling.steps);
            let latent = self.sample_structure(&mut noise, &condition, &structure_sampling, on_step)?;
            self.find_voxels(&self.decode_structure(&latent)?)
        })?;
        let slat = run.stage(Stage::StructuredLatent, |report| {
            let on_step = &mut |step, _: &Tensor| report(step, slat_sampling.steps);
            let slat = self.sample_slat(&mut noise, &grid, &condition, &slat_sampling, on_step)?;
            self.denormalize(&slat)
        })?;
        let mesh = run.stage(Stage::Mesh, |_| Ok(self.extract_surface(&grid, slat)?.into_mesh()))?;
        Ok(Asset { mesh, seed: options.seed, voxels: grid.len() as usize, timings: run.timings })
    }
}
