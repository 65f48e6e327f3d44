//! What NVIDIA's driver says of a GPU.
#![allow(unsafe_code, reason = "the driver is a library in another language")]

use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

use libloading::Library;
use tch::Device;

/// Bytes of a GPU's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuMemory {
    /// What nobody holds.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// The memory of `device`, on which this thread has computed before. `None`: it is no GPU.
pub fn memory(device: Device) -> Option<GpuMemory> {
    let Device::Cuda(_) = device else { return None };
    let (mut free, mut total) = (0usize, 0usize);
    // SAFETY: so it is declared in cuda.h; it writes to both, and fails where the thread has no context.
    let code = unsafe {
        let query =
            driver()?.get::<extern "C" fn(*mut usize, *mut usize) -> c_int>("cuMemGetInfo_v2").ok()?;
        query(&raw mut free, &raw mut total)
    };
    (code == 0).then_some(GpuMemory { free: free as u64, total: total as u64 })
}

/// The product's name, like `NVIDIA H200`. `None`: it is no GPU.
pub fn name(device: Device) -> Option<String> {
    let Device::Cuda(index) = device else { return None };
    let mut text = [0; 128];
    // SAFETY: so it is declared in cuda.h, whose device handles are the devices' numbers; it writes no more than it is told.
    let code = unsafe {
        let query =
            driver()?.get::<extern "C" fn(*mut c_char, c_int, c_int) -> c_int>("cuDeviceGetName").ok()?;
        query(text.as_mut_ptr(), text.len() as c_int, c_int::try_from(index).ok()?)
    };
    // SAFETY: the array outlives the string, and the last byte is zero unless the driver cut the text off there.
    let name = unsafe { CStr::from_ptr(text.as_ptr()) };
    (code == 0).then(|| name.to_string_lossy().into_owned())
}

fn driver() -> Option<&'static Library> {
    static DRIVER: OnceLock<Option<Library>> = OnceLock::new();
    // SAFETY: libtorch has loaded it before; its initialisers are meant to run at any time.
    DRIVER.get_or_init(|| unsafe { Library::new("libcuda.so.1") }.ok()).as_ref()
}
