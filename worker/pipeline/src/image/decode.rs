//! Reading an image file that someone sent.

use std::io::Cursor;

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, RgbaImage};

use super::whole::is_whole;
use crate::{Error, Result};

/// Longest side accepted, in pixels.
const MAX_SIDE: u32 = 8192;
/// Most memory that the pixels may take, in bytes: the largest image at 16 bits per channel.
const MAX_ALLOC: u64 = 8192 * 8192 * 8;
/// The same for what a PNG file holds beside them, unpacked: a colour profile and comments.
const MAX_EXTRA: u64 = 8 << 20;

/// Decodes a PNG, JPEG or WebP file and turns it upright as its EXIF orientation says. Grey, palette, CMYK and 16-bit images become
/// 8-bit colour; of an animation, the first frame is taken.
///
/// # Errors
/// [`Error::InvalidInput`] when the bytes are no such image, are damaged or cut off, or the image is too large. Its size is checked before
/// memory is taken for it.
pub fn decode(bytes: &[u8]) -> Result<RgbaImage> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.limits(limits(MAX_EXTRA));
    // Guessing reads from memory, which cannot fail.
    let reader = reader.with_guessed_format().map_err(|error| refuse(&ImageError::IoError(error)))?;
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(|error| refuse(&error))?;
    check_size(&decoder)?;
    if !format.is_none_or(|format| is_whole(format, bytes)) {
        return Err(Error::InvalidInput("the image file is cut off; send it again, whole".into()));
    }
    decoder.set_limits(limits(MAX_ALLOC)).map_err(|error| refuse(&error))?;
    // A photo with damaged metadata is still a photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| refuse(&error))?;
    image.apply_orientation(orientation);
    Ok(image.into_rgba8())
}

fn limits(bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(bytes);
    limits
}

fn check_size(decoder: &impl ImageDecoder) -> Result<()> {
    let (width, height) = decoder.dimensions();
    match width.max(height) <= MAX_SIDE && decoder.total_bytes() <= MAX_ALLOC {
        true => Ok(()),
        false => Err(too_large()),
    }
}

fn too_large() -> Error {
    Error::InvalidInput(format!(
        "the image is too large: at most {MAX_SIDE} pixels a side are accepted; send a smaller one"
    ))
}

fn refuse(error: &ImageError) -> Error {
    match error {
        ImageError::Limits(error) if error.kind() == LimitErrorKind::InsufficientMemory => {
            Error::InvalidInput(
                "the image file holds more than 8 MiB beside its pixels; send it without comments".into(),
            )
        }
        ImageError::Limits(_) => too_large(),
        ImageError::Unsupported(_) => Error::InvalidInput(format!(
            "the image is not a PNG, JPEG or WebP file of a common kind ({error}); convert it to PNG"
        )),
        _ => Error::InvalidInput(format!(
            "the image cannot be decoded ({error}); it may be damaged, send it again"
        )),
    }
}
