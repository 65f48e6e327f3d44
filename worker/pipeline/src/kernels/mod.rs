//! CUDA kernels of our own, from `kernels/*.cu`, for what libtorch has no fast operation for. They lie in a library that is
//! loaded when it is there; callers get `None` where it is not, or does not suit the device or the tensors, and then
//! compute with libtorch's operations. Like those, kernels are queued on the default stream and do not wait.
#![allow(unsafe_code, reason = "functions of a library in another language take raw pointers")]

pub(crate) mod attention;
pub(crate) mod dense_conv;
pub(crate) mod flexicubes;
pub(crate) mod linear_gelu;
pub(crate) mod norms;
pub(crate) mod sparse_conv;
pub(crate) mod transformer;
pub(crate) mod upsampled_conv;
pub(crate) mod window_attention;

use std::env;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::Library;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// The file of the kernels, or `off` to do without them.
const VARIABLE: &str = "TRELLIS_KERNELS";
const FILE: &str = "libtrellis_kernels.so";
/// Of the functions' signatures; `kernels/device.cu` says the same.
const VERSION: c_int = 4;

/// The library, for use on one device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernels(&'static Library);

impl Kernels {
    /// The kernels for `device`, if it is a GPU that they are built for and the library is there.
    pub(crate) fn on(device: Device) -> Option<Self> {
        let Device::Cuda(index) = device else { return None };
        static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
        let kernels = Self(LIBRARY.get_or_init(load).as_ref()?);
        // SAFETY: it is declared so in device.cu.
        let select: extern "C" fn(c_int) -> c_int = unsafe { kernels.function("trellis_select") }.ok()?;
        (select(c_int::try_from(index).ok()?) == 0).then_some(kernels)
    }

    /// A function of the library.
    ///
    /// # Safety
    /// `F` is the function's type.
    pub(super) unsafe fn function<F: Copy>(self, name: &str) -> Result<F> {
        // SAFETY: the caller's promise.
        let symbol = unsafe { self.0.get::<F>(name) };
        symbol.map(|symbol| *symbol).map_err(|error| Error::Device(format!("{FILE}: {error}")))
    }

    /// What a launch returned.
    pub(super) fn check(self, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: it is declared so in device.cu; CUDA's messages are constants.
        let message = unsafe {
            let describe: extern "C" fn(c_int) -> *const c_char = self.function("trellis_error")?;
            CStr::from_ptr(describe(code)).to_string_lossy()
        };
        Err(Error::Torch(format!("a CUDA kernel could not be started: {message}")))
    }
}

/// Whether there are kernels for `device`.
pub(crate) fn are_there(device: Device) -> bool {
    Kernels::on(device).is_some()
}

/// Opens the library: the file that the environment names, the one beside the program, or the one that the system finds.
fn load() -> Option<Library> {
    let named = env::var_os(VARIABLE);
    if named.as_deref().is_some_and(|value| value == "off") {
        return None;
    }
    let beside = || Some(env::current_exe().ok()?.parent()?.join(FILE)).filter(|path| path.exists());
    let path = named.map(PathBuf::from).or_else(beside).unwrap_or_else(|| FILE.into());
    // SAFETY: the library has no initialisers beyond those of CUDA's runtime.
    let library = unsafe { Library::new(path) }.ok()?;
    // SAFETY: it is declared so in device.cu.
    let version = unsafe { library.get::<extern "C" fn() -> c_int>("trellis_version") }.ok()?();
    (version == VERSION).then_some(library)
}

/// Numbers copied from a GPU to memory that it writes to directly, which is several times faster than to any other.
#[derive(Debug)]
pub(crate) struct HostCopy(Tensor);

impl HostCopy {
    /// Copies `[N]` in f32, and waits for it.
    pub(crate) fn of(numbers: &Tensor) -> Result<Self> {
        let non_blocking = true;
        let copy = numbers.f_internal_to_copy((Kind::Float, Device::Cpu), non_blocking)?;
        // A number read after the copy on the same stream is there after it.
        if numbers.numel() > 0 {
            numbers.f_double_value(&[0])?;
        }
        Ok(Self(copy))
    }

    /// The numbers.
    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: the tensor is of this kind, on the CPU, without gaps, and lives as long as the slice.
        unsafe { std::slice::from_raw_parts(values(&self.0), self.0.numel()) }
    }
}

/// Where a tensor's values start, for a kernel that reads them.
fn values<T>(tensor: &Tensor) -> *const T {
    tensor.data_ptr().cast_const().cast()
}

/// Where a tensor's values start, for a kernel that writes them.
fn values_mut<T>(tensor: &Tensor) -> *mut T {
    tensor.data_ptr().cast()
}

/// The stream that libtorch computes on unless told otherwise.
fn stream() -> *mut c_void {
    std::ptr::null_mut()
}

/// Whether all tensors are of this kind, without gaps, and start where a thread can read 16 bytes at once.
fn are_plain(kind: Kind, tensors: &[&Tensor]) -> bool {
    let is_plain = |tensor: &&Tensor| {
        tensor.kind() == kind && tensor.is_contiguous() && (tensor.data_ptr() as usize).is_multiple_of(16)
    };
    tensors.iter().all(is_plain)
}
