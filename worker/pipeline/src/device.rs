//! The device to compute on. The program links libtorch's CPU library alone and brings in the CUDA library by name
//! when CUDA is wanted, so one binary serves machines with and without a GPU.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

use crate::{Error, Result, kernels};

/// Which device to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CUDA where there is a GPU, the CPU elsewhere.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this index; an error where there is none.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    /// Reads `auto`, `cpu`, `cuda` or `cuda:<index>`.
    fn from_str(text: &str) -> Result<Self> {
        let unknown =
            || Error::Device(format!("unknown device {text:?}; use auto, cpu, cuda or cuda:<index>"));
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(unknown),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl DeviceChoice {
    /// Resolves the choice. Call it before anything else computes: libtorch notices CUDA only at its first operation.
    ///
    /// # Errors
    /// When CUDA was asked for and its libraries or the GPU are not there.
    pub fn resolve(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(if cuda_devices().is_ok() { Device::Cuda(0) } else { Device::Cpu }),
            Self::Cuda(index) => match cuda_devices() {
                Ok(count) if index < count => Ok(Device::Cuda(index)),
                Ok(count) => Err(Error::Device(format!("there is no GPU {index}: this machine has {count}"))),
                Err(reason) => Err(Error::Device(format!("CUDA is not available: {reason}"))),
            },
        }
    }
}

/// Into how many parts libtorch divides the work on a CPU, on every machine.
const CPU_LANES: i32 = 16;

/// Lets libtorch divide its work alike on every machine. Where one part ends and the next begins decides which numbers go through a loop's vector
/// code and which through its scalar rest, and these round differently; so one thread and sixteen would give different assets. Where there
/// are fewer cores than lanes, the lanes take turns on them.
pub(crate) fn fix_cpu_lanes() {
    tch::set_num_threads(CPU_LANES);
}

/// Whether this library's own kernels are there for a device: `libtrellis_kernels.so`, which `scripts/kernels.sh` builds, beside
/// the program or where `TRELLIS_KERNELS` says. Without them (`TRELLIS_KERNELS=off`) libtorch's operations do the same, slower.
pub fn has_kernels(device: Device) -> bool {
    kernels::are_there(device)
}

/// The number of GPUs, at least one, or why CUDA cannot be used.
fn cuda_devices() -> std::result::Result<usize, String> {
    load_cuda()?;
    match usize::try_from(Cuda::device_count()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("libtorch finds no GPU (is the NVIDIA driver installed?)".into()),
    }
}

/// Loads libtorch's CUDA library, once in the life of the process.
#[allow(unsafe_code)]
fn load_cuda() -> std::result::Result<(), String> {
    static LOADED: OnceLock<std::result::Result<Library, String>> = OnceLock::new();
    let open = || {
        // SAFETY: the library's initialisers register CUDA kernels with libtorch_cpu, which this program links in the
        // same version; they are meant to run at load time in any order of loading. It is never unloaded.
        unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) }
            .map_err(|error| error.to_string())
    };
    LOADED.get_or_init(open).as_ref().map(|_| ()).map_err(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_as_it_is_written() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3)] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cpu:0"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn auto_falls_back_to_the_cpu() {
        assert!(DeviceChoice::Auto.resolve().is_ok());
    }
}
