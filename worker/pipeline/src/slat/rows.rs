//! Tensors to lists in memory.

use bytemuck::Pod;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// The rows of `values` in f32, as values of `T` that hold as many numbers as a row.
///
/// # Errors
/// When the rows are of another width or libtorch fails.
pub(super) fn rows<T: Pod>(values: &Tensor) -> Result<Vec<T>> {
    let flat = values.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?.f_contiguous()?.f_flatten(0, -1)?;
    let flat = Vec::<f32>::try_from(flat)?;
    let list = bytemuck::try_cast_slice(&flat);
    list.map(<[T]>::to_vec).map_err(|error| Error::Torch(format!("rows of another width: {error}")))
}
