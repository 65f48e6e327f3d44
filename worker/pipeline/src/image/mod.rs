//! From the bytes of a photo to the tensor that the image encoder sees (SPEC section 2).

mod crop;
mod decode;
pub mod lanczos;
mod whole;

use ::image::RgbImage;
use tch::{Device, Kind, Tensor};

pub(crate) use crop::premultiply;
pub use crop::preprocess;
pub use decode::decode;

use crate::Result;

/// Side of the encoder's input in pixels.
pub const SIDE: u32 = 518;

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A preprocessed image as `[1, 3, height, width]` in f32, normalised by ImageNet's mean and deviation. Computed on the
/// CPU, whose division is exact; CUDA's is not.
///
/// # Errors
/// When libtorch fails.
pub fn to_tensor(image: &RgbImage, device: Device) -> Result<Tensor> {
    let (width, height) = image.dimensions();
    let channel = |values: &[f32; 3]| Tensor::f_from_slice(values)?.f_reshape([3, 1, 1]);
    let pixels = Tensor::f_from_data_size(image.as_raw(), &[1, height.into(), width.into(), 3], Kind::Uint8)?;
    let unit = pixels.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?.f_permute([0, 3, 1, 2])?;
    Ok(unit.f_sub(&channel(&MEAN)?)?.f_div(&channel(&STD)?)?.f_to_device(device)?)
}
