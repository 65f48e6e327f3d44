//! Where a model's tensors come from.

use tch::{Device, Kind, Tensor};

use super::TensorFile;
use crate::Result;
use crate::noise::draw_on;

/// Of drawn tensors; small enough that no block of a deep model overflows half precision.
const DEVIATION: f64 = 0.02;

/// A file, or chance.
#[derive(Debug)]
pub(super) enum Source {
    File(TensorFile),
    /// Every tensor that is asked for is drawn; so many were.
    Drawn {
        count: u64,
    },
}

/// Draws tensor number `number` of a model: normal numbers, around one for the weights of norms, otherwise around zero.
pub(super) fn draw(number: u64, path: &str, shape: &[i64], device: Device, kind: Kind) -> Result<Tensor> {
    let centre = if shape.len() == 1 && path.ends_with("weight") { 1.0 } else { 0.0 };
    let normal = draw_on(device, number, shape)?;
    Ok(normal.f_mul_scalar(DEVIATION)?.f_add_scalar(centre)?.f_to_kind(kind)?)
}
