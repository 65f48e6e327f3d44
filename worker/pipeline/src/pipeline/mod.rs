//! From images or texts to assets.

mod batch;
mod decoders;
mod folder;
mod generator;
mod memory;
mod options;
mod part;
mod plan;
mod progress;
mod quality;
mod request;
mod role;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use tch::{Device, Kind};

use batch::Batch;
pub use decoders::{Decoders, join_voxels};
pub use folder::{INDEX, ModelFolder, Normalization};
pub use generator::{Generator, OnStep};
use memory::Budget;
pub use memory::Memory;
pub use options::{Options, Outputs, StageOptions};
pub use part::{Borrowed, Part, Place};
use plan::Plan;
pub use progress::{Observer, Progress, Stage, StageTiming};
pub use quality::{Preset, Quality};
pub use request::{Asset, Input, Request};
pub use role::{Modality, Role};

use crate::device::{DeviceChoice, fix_cpu_lanes};
use crate::weights::Placement;
use crate::{Error, Result};

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
    /// Bytes of the device's memory that weights and requests may take; left out: all there is.
    pub max_memory: Option<u64>,
    /// Samples that go through a flow together. Left out: as many as memory allows on CUDA, and one on the CPU, where more
    /// would be no faster and could move the last bits.
    pub max_batch: Option<usize>,
}

impl LoadOptions {
    /// The device and the precision of the torsos.
    ///
    /// # Errors
    /// When the device is not there.
    pub fn placement(self) -> Result<Placement> {
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

    fn max_batch(self, device: Device) -> usize {
        self.max_batch.unwrap_or(if device.is_cuda() { usize::MAX } else { 1 }).max(1)
    }
}

/// The models of one or more folders, in the memory of a device. Requests run one call at a time.
#[derive(Debug)]
pub struct Pipeline {
    device: Device,
    generators: Vec<Generator>,
    decoders: Decoders,
    budget: Budget,
}

impl Pipeline {
    /// Loads the models of a folder in the released layout.
    ///
    /// # Errors
    /// When the folder, one of its models or the device is not as it must be, or the weights exceed the memory limit.
    pub fn load(folder: &Path, options: LoadOptions) -> Result<Self> {
        Self::load_together(&[folder], options)
    }

    /// Loads an image model and a text model, whose decoders are the same, into one pipeline that holds these once.
    ///
    /// # Errors
    /// As [`Pipeline::load`]; when folders take the same kind of input or have decoders of their own.
    pub fn load_together(folders: &[&Path], options: LoadOptions) -> Result<Self> {
        let placement = options.placement()?;
        let folders = folders.iter().map(|folder| ModelFolder::open(folder)).collect::<Result<Vec<_>>>()?;
        let first = folders
            .first()
            .ok_or_else(|| Error::InvalidInput("no model folder was given; name one".into()))?;
        // All descriptions first: what is missing shows before gigabytes are read.
        for folder in &folders {
            folder.roles().try_for_each(|role| folder.checkpoint(role).map(drop))?;
        }
        for folder in &folders[1..] {
            first.check_shares_decoders(folder)?;
        }
        let max_batch = options.max_batch(placement.device);
        let budget = Budget::new(&folders, placement.torso, options.max_memory, max_batch)?;
        Ok(Self {
            device: placement.device,
            decoders: Decoders::load(first, placement)?,
            generators: folders
                .into_iter()
                .map(|folder| Generator::load(folder, placement))
                .collect::<Result<_>>()?,
            budget,
        })
    }

    /// The device that the models are on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The encoder and flows for an input of this kind, if a model for it is loaded.
    pub fn generator(&self, modality: Modality) -> Option<&Generator> {
        self.generators.iter().find(|generator| generator.folder().modality() == modality)
    }

    /// The models that turn latents into objects.
    pub fn decoders(&self) -> &Decoders {
        &self.decoders
    }

    /// Makes the assets of one request: one for each of its samples in which the model finds an object.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when input or options cannot be used, [`Error::Empty`] when no sample holds an object,
    /// [`Error::Cancelled`] when `observer` says so, [`Error::OutOfMemory`] also where the limit would be exceeded. The
    /// pipeline can be used after each of them.
    pub fn generate(&self, request: &Request, observer: &mut Observer) -> Result<Vec<Asset>> {
        let mut results = self.generate_batch(&[request], observer);
        results.pop().unwrap_or(Err(Error::Cancelled))
    }

    /// Makes the assets of several requests, those that sample alike in the same forward passes. On the CPU each result
    /// is equal, to the byte, to that of its request alone; on CUDA in half precision up to the rounding of matrix products, whose order of
    /// summation depends on their size.
    ///
    /// One request's failure is not another's: where a batch fails, its requests are made one by one.
    ///
    /// # Errors
    /// As [`Pipeline::generate`], for each request.
    pub fn generate_batch(&self, requests: &[&Request], observer: &mut Observer) -> Vec<Result<Vec<Asset>>> {
        let _no_grad = tch::no_grad_guard();
        let mut results = BTreeMap::new();
        let mut groups: Vec<(Plan, Vec<usize>)> = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            match self.plan(request) {
                Err(error) => drop(results.insert(index, Err(error))),
                Ok(plan) => match groups.iter_mut().find(|(other, _)| *other == plan) {
                    Some((_, members)) => members.push(index),
                    None => groups.push((plan, vec![index])),
                },
            }
        }
        let mut turns = Turns { observer, begun: 0.0, share: 0.0 };
        for (plan, members) in groups {
            turns.begin(members.len() as f32 / requests.len() as f32);
            results.extend(self.make_group(&plan, requests, &members, &mut turns));
        }
        results.into_values().collect()
    }

    fn make_group(
        &self,
        plan: &Plan,
        requests: &[&Request],
        members: &[usize],
        turns: &mut Turns,
    ) -> BTreeMap<usize, Result<Vec<Asset>>> {
        let of = |members: &[usize]| members.iter().map(|&index| requests[index]).collect::<Vec<_>>();
        match (self.make(plan, &of(members), turns), members) {
            (Ok(assets), _) => members.iter().copied().zip(assets).collect(),
            (Err(Error::Cancelled), _) => {
                members.iter().map(|&index| (index, Err(Error::Cancelled))).collect()
            }
            (Err(error), &[index]) => BTreeMap::from([(index, Err(error))]),
            (Err(_), _) => {
                let alone = |&index: &usize| self.make_group(plan, requests, &[index], turns);
                members.iter().flat_map(alone).collect()
            }
        }
    }

    fn plan(&self, request: &Request) -> Result<Plan> {
        let modality = request.input.modality();
        let generator = self.generator(modality).ok_or_else(|| generator::unlike(modality))?;
        self.decoders.check(request.options.outputs)?;
        Plan::of(request, generator.folder())
    }

    fn make(&self, plan: &Plan, requests: &[&Request], turns: &mut Turns) -> Result<Vec<Result<Vec<Asset>>>> {
        let generator = self.generator(plan.modality).ok_or_else(|| generator::unlike(plan.modality))?;
        let models = batch::Models { generator, decoders: &self.decoders, budget: &self.budget };
        Batch::new(models, plan, requests).run(self.device, &mut |progress| turns.tell(progress))
    }
}

/// The parts of a call that groups of requests take, one after the other.
struct Turns<'a, 'o> {
    observer: &'a mut Observer<'o>,
    begun: f32,
    share: f32,
}

impl Turns<'_, '_> {
    fn begin(&mut self, share: f32) {
        self.begun += self.share;
        self.share = share;
    }

    fn tell(&mut self, progress: Progress) -> ControlFlow<()> {
        let fraction = (self.begun + self.share * progress.fraction).min(1.0);
        (self.observer)(Progress { fraction, ..progress })
    }
}
