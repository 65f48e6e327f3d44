//! Which model is loaded, and how.

use std::path::PathBuf;

use trellis::Result;
use trellis::device::DeviceChoice;
use trellis::pipeline::{LoadOptions, Pipeline, Precision};

use crate::memory_size::MemorySize;

#[derive(Debug, clap::Args)]
pub(crate) struct ModelArguments {
    /// The model folder, in the released layout.
    #[arg(long, env = "TRELLIS_MODEL")]
    model: PathBuf,
    /// Where to compute: auto, cpu, cuda or cuda:<index>.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// How precisely to compute; f16 on CUDA and f32 on the CPU where left out.
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Memory of the device that may be used, such as 24GiB; all there is where left out.
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemorySize>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum PrecisionName {
    F32,
    F16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::F16 => Self::F16,
        }
    }
}

impl ModelArguments {
    pub(crate) fn load(&self) -> Result<Pipeline> {
        let precision = self.precision.map(Into::into);
        let max_memory = self.max_memory.map(|size| size.0);
        Pipeline::load(
            &self.model,
            LoadOptions { device: self.device, precision, max_memory, ..LoadOptions::default() },
        )
    }
}
