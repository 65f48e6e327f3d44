//! How far a request is, whether to go on, and how long each stage took.

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use tch::{Cuda, Device};

use crate::{Error, Result, gpu, host};

/// The stages of a request, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Images or prompts to conditions.
    Encode,
    /// Noise to active voxels.
    SparseStructure,
    /// Noise on the voxels to structured latents.
    StructuredLatent,
    /// Structured latents to a surface.
    Mesh,
    /// Structured latents to Gaussians.
    Gaussians,
    /// Structured latents to a radiance field.
    RadianceField,
}

impl Stage {
    /// A name for logs, metrics and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::SparseStructure => "sparse_structure",
            Self::StructuredLatent => "structured_latent",
            Self::Mesh => "mesh",
            Self::Gaussians => "gaussians",
            Self::RadianceField => "radiance_field",
        }
    }

    /// The part of a request's time that the stage takes with the released model, about.
    fn span(self) -> Range<f32> {
        match self {
            Self::Encode => 0.0..0.02,
            Self::SparseStructure => 0.02..0.3,
            Self::StructuredLatent => 0.3..0.9,
            Self::Mesh => 0.9..0.98,
            Self::Gaussians => 0.98..0.99,
            Self::RadianceField => 0.99..1.0,
        }
    }
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The stage it is in.
    pub stage: Stage,
    /// The part of the whole request that is done, 0 to 1.
    pub fraction: f32,
}

/// Is told of progress at the start of each stage and after each sampling step; `Break` cancels the request.
pub type Observer<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// How long a stage took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageTiming {
    /// The stage.
    pub stage: Stage,
    /// Wall-clock time, to the end of what the device was given to do.
    pub duration: Duration,
}

/// A request that is running.
pub(super) struct Run<'a, 'o> {
    observer: &'a mut Observer<'o>,
    device: Device,
    pub(super) timings: Vec<StageTiming>,
    /// The most memory of the device that was held, in bytes, where it can be told.
    pub(super) peak_memory: Option<u64>,
}

impl<'a, 'o> Run<'a, 'o> {
    pub(super) fn new(device: Device, observer: &'a mut Observer<'o>) -> Self {
        if device == Device::Cpu {
            host::forget_peak();
        }
        Self { observer, device, timings: Vec::new(), peak_memory: None }
    }

    /// Runs one stage and takes its time. `work` is given the function to call after each part of the stage, with the parts done and
    /// all of them.
    pub(super) fn stage<T>(
        &mut self,
        stage: Stage,
        work: impl FnOnce(&mut dyn FnMut(usize, usize) -> Result<()>) -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let mut report = |done: usize, of: usize| {
            let span = stage.span();
            let fraction = span.start + (span.end - span.start) * (done as f32 / of as f32);
            match (self.observer)(Progress { stage, fraction }) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(Error::Cancelled),
            }
        };
        report(0, 1)?;
        let result = work(&mut report)?;
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(index as i64);
        }
        self.timings.push(StageTiming { stage, duration: start.elapsed() });
        self.peak_memory = self.peak_memory.max(held(self.device));
        Ok(result)
    }
}

/// What was held of a device's memory so far. Of a GPU's it is what anybody holds now: libtorch keeps what a stage has used.
fn held(device: Device) -> Option<u64> {
    match gpu::memory(device) {
        Some(memory) => Some(memory.total - memory.free),
        None => host::peak(),
    }
}
