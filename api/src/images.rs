//! Images as clients send them: taken out of base64, then decoded to the last pixel before anything is created.
//!
//! What this accepts is what the worker accepts: a file that ends in the middle, a decompression bomb, or a PDF that calls
//! itself `.png` is refused here with a reason, instead of failing on a GPU minutes later.

use std::io::Cursor;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use image::{ImageDecoder as _, ImageFormat, ImageReader, Limits};

/// The longest side of an image, in pixels.
pub(crate) const MAX_SIDE: u32 = 8192;

/// The shortest side of an image, in pixels: below it there is nothing to see.
pub(crate) const MIN_SIDE: u32 = 16;

/// Pixels that a decoder may give: an RGBA image of 64 megapixels. What it takes besides is its own affair: see `DECODERS`.
const MAX_DECODED_BYTES: u64 = 256 << 20;

/// Why an image was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ImageError {
    /// The text is not base64.
    #[error(
        "The image is not valid base64: {0}. Send the file's bytes in base64, with or without `data:image/png;base64,` before them."
    )]
    NotBase64(String),
    /// No bytes at all.
    #[error("The image is empty.")]
    Empty,
    /// More bytes than the settings allow.
    #[error(
        "The image is larger than the limit of {limit} bytes. Send a smaller file; 1024 pixels a side are plenty."
    )]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes begin like none of the accepted formats.
    #[error("The file is not a PNG, JPEG or WebP image.")]
    UnknownFormat,
    /// Too few or too many pixels.
    #[error("The image has {width} x {height} pixels; each side must have {MIN_SIDE} to {MAX_SIDE}.")]
    Dimensions {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The decoder gave up.
    #[error("The image cannot be decoded: {0}. The file is probably cut short or damaged.")]
    Damaged(String),
}

/// An image that was decoded once and found whole.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The file as it was sent.
    pub bytes: Bytes,
    /// The file name extension of its format: `png`, `jpg` or `webp`.
    pub extension: &'static str,
    /// The media type of its format.
    pub media_type: &'static str,
}

impl Image {
    /// Checks `bytes` by decoding them. Takes CPU time in proportion to the pixels: call it off the async threads.
    pub(crate) fn check(bytes: Bytes, max_bytes: usize) -> Result<Self, ImageError> {
        if bytes.is_empty() {
            return Err(ImageError::Empty);
        }
        if bytes.len() > max_bytes {
            return Err(ImageError::TooLarge { limit: max_bytes });
        }
        let format = image::guess_format(&bytes).map_err(|_| ImageError::UnknownFormat)?;
        let (extension, media_type) = match format {
            ImageFormat::Png => ("png", "image/png"),
            ImageFormat::Jpeg => ("jpg", "image/jpeg"),
            ImageFormat::WebP => ("webp", "image/webp"),
            _ => return Err(ImageError::UnknownFormat),
        };
        decode(&bytes, format)?;
        Ok(Self { bytes, extension, media_type })
    }
}

fn decode(bytes: &[u8], format: ImageFormat) -> Result<(), ImageError> {
    let damaged = |error: image::ImageError| ImageError::Damaged(error.to_string());
    // The dimensions come from the header alone, so that a bomb is refused before its pixels are made.
    let header = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(damaged)?;
    let (width, height) = header.dimensions();
    if [width, height].iter().any(|side| !(MIN_SIDE..=MAX_SIDE).contains(side)) {
        return Err(ImageError::Dimensions { width, height });
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    reader.decode().map_err(damaged)?;
    // The JPEG decoder fills what is missing with grey.
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(ImageError::Damaged("the end is missing".to_owned()));
    }
    Ok(())
}

/// Whether the JPEG stream `bytes` has its end (ITU T.81, annex B): markers are followed up to the image's EOI, past a
/// thumbnail's within a segment.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const EOI: u8 = 0xd9;
    const SOS: u8 = 0xda;
    let mut rest = bytes.get(2..).unwrap_or_default();
    let mut in_scan = false;
    loop {
        rest = match rest {
            [0xff, EOI, ..] => return true,
            [0xff, 0xff, ..] => &rest[1..],
            // Within a scan: a stuffed byte, or a restart marker.
            [0xff, 0x00 | 0xd0..=0xd7, rest @ ..] if in_scan => rest,
            [0xff, marker, high, low, ..] => {
                in_scan = *marker == SOS;
                rest.get(2 + usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
            }
            [_, rest @ ..] if in_scan => rest,
            _ => return false,
        };
    }
}

/// The bytes of `text`: base64 of either alphabet, padded or not, alone or in a `data:` URI (RFC 2397).
pub(crate) fn from_base64(text: &str, max_bytes: usize) -> Result<Bytes, ImageError> {
    let payload = match text.trim().strip_prefix("data:") {
        None => text.trim(),
        Some(uri) => match uri.split_once(',') {
            Some((header, payload)) if header.ends_with(";base64") => payload,
            _ => return Err(ImageError::NotBase64("a data: URI must say `;base64,`".to_owned())),
        },
    };
    // Before decoding, so that the refusal costs no memory.
    if payload.len() / 4 * 3 > max_bytes.saturating_add(2) {
        return Err(ImageError::TooLarge { limit: max_bytes });
    }
    let alphabet = if payload.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(alphabet, config).decode(payload);
    bytes.map(Bytes::from).map_err(|error| ImageError::NotBase64(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    fn encoded(width: u32, height: u32, format: ImageFormat) -> Bytes {
        let mut file = Cursor::new(Vec::new());
        RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]))
            .write_to(&mut file, format)
            .unwrap();
        file.into_inner().into()
    }

    #[test]
    fn each_accepted_format_is_told_by_its_bytes() {
        for (format, extension) in
            [(ImageFormat::Png, "png"), (ImageFormat::Jpeg, "jpg"), (ImageFormat::WebP, "webp")]
        {
            let file = encoded(64, 48, format);
            let image = Image::check(file.clone(), file.len()).unwrap();
            assert_eq!((image.extension, image.bytes), (extension, file));
        }
    }

    #[test]
    fn a_file_cut_short_is_damaged() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let file = encoded(256, 256, format);
            let result = Image::check(file.slice(..file.len() / 2), usize::MAX);
            assert!(matches!(result, Err(ImageError::Damaged(_))), "{format:?}: {result:?}");
        }
    }

    #[test]
    fn sizes_outside_the_limits_are_refused_with_the_size() {
        let file = encoded(8, 400, ImageFormat::Png);
        let refused = Image::check(file, usize::MAX).unwrap_err();
        assert_eq!(refused, ImageError::Dimensions { width: 8, height: 400 });
        let file = encoded(8200, 16, ImageFormat::Png);
        assert!(matches!(Image::check(file, usize::MAX), Err(ImageError::Dimensions { width: 8200, .. })));
        let file = encoded(64, 64, ImageFormat::Png);
        let limit = file.len() - 1;
        assert_eq!(Image::check(file, limit).unwrap_err(), ImageError::TooLarge { limit });
        assert_eq!(Image::check(Bytes::new(), 1).unwrap_err(), ImageError::Empty);
    }

    #[test]
    fn other_files_are_not_images_whatever_they_are_called() {
        for file in [&b"%PDF-1.7 ..."[..], b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", b"<svg/>"] {
            assert_eq!(Image::check(file.into(), 1000).unwrap_err(), ImageError::UnknownFormat);
        }
    }

    #[test]
    fn base64_comes_in_every_spelling_that_clients_use() {
        let bytes = [0xfb_u8, 0xff, 0xfe, 0x01];
        for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", " +//+AQ==\n", "data:image/png;base64,+//+AQ=="] {
            assert_eq!(from_base64(text, 100).as_deref(), Ok(&bytes[..]), "{text}");
        }
        for text in ["data:image/png,abc", "data:image/png;base64", "a b c d", "###"] {
            assert!(matches!(from_base64(text, 100), Err(ImageError::NotBase64(_))), "{text}");
        }
        assert_eq!(from_base64(&"A".repeat(400), 100), Err(ImageError::TooLarge { limit: 100 }));
    }
}
