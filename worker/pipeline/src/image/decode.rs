//! Reading an image file that someone sent.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, RgbaImage};

use crate::{Error, Result};

/// Longest side accepted, in pixels.
const MAX_SIDE: u32 = 8192;
/// Most memory that decoding may take, in bytes: the largest image at 16 bits per channel.
const MAX_ALLOC: u64 = 8192 * 8192 * 8;

/// Decodes a PNG, JPEG or WebP file and turns it upright as its EXIF orientation says.
///
/// # Errors
/// [`Error::InvalidInput`] when the bytes are no such image, are damaged, or the image is too large.
pub fn decode(bytes: &[u8]) -> Result<RgbaImage> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);

    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.limits(limits);
    // Guessing reads from memory, which cannot fail.
    let reader = reader.with_guessed_format().map_err(|error| refuse(&ImageError::IoError(error)))?;
    let mut decoder = reader.into_decoder().map_err(|error| refuse(&error))?;
    // A photo with damaged metadata is still a photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| refuse(&error))?;
    image.apply_orientation(orientation);
    Ok(image.into_rgba8())
}

fn refuse(error: &ImageError) -> Error {
    Error::InvalidInput(match error {
        ImageError::Limits(_) => {
            format!(
                "the image is too large: at most {MAX_SIDE} pixels a side are accepted; send a smaller one"
            )
        }
        ImageError::Unsupported(_) => {
            format!("the image is not a PNG, JPEG or WebP file ({error}); convert it")
        }
        _ => format!("the image cannot be decoded ({error}); it may be damaged, send it again"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(image: &RgbaImage) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        bytes
    }

    fn message(bytes: &[u8]) -> String {
        match decode(bytes) {
            Err(Error::InvalidInput(message)) => message,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn a_png_cut_off_anywhere_is_refused_and_never_panics() {
        let whole = png(&RgbaImage::from_fn(40, 30, |x, y| image::Rgba([x as u8, y as u8, 7, 200])));
        assert!(decode(&whole).is_ok());
        for length in 0..whole.len() - 12 {
            message(&whole[..length]);
        }
    }

    #[test]
    fn a_header_that_promises_a_huge_image_is_refused_before_memory_is_taken() {
        let mut bytes = png(&RgbaImage::new(1, 1));
        bytes[16..24].copy_from_slice(&[0x00, 0x40, 0, 0, 0x00, 0x40, 0, 0]);
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        assert!(message(&bytes).contains("too large"), "{}", message(&bytes));
    }

    #[test]
    fn other_files_are_told_to_be_converted() {
        assert!(message(b"GIF89a\x01\x00\x01\x00").contains("convert"));
        assert!(message(b"%PDF-1.7").contains("convert"));
    }

    #[test]
    fn a_photo_taken_sideways_is_turned_upright() {
        let mut jpeg = Vec::new();
        image::RgbImage::new(20, 10).write_to(&mut Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).unwrap();
        // An EXIF segment with one tag: Orientation (0x0112) = 6, "rotate by 90 degrees to the right".
        let exif =
            b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        jpeg.splice(2..2, exif.iter().copied());
        assert_eq!(decode(&jpeg).unwrap().dimensions(), (10, 20));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }
}
