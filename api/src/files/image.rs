//! Images: decoded to the last pixel before anything is created.
//!
//! What this accepts is what the worker accepts: a file that ends in the middle, a decompression bomb, or a PDF that calls
//! itself `.png` is refused here with a reason, instead of failing on a GPU minutes later.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};

use super::Fault;

/// The longest side of an image, in pixels.
pub(super) const MAX_SIDE: u32 = 8192;

/// The shortest side of an image, in pixels: below it there is nothing to see.
pub(super) const MIN_SIDE: u32 = 16;

/// Pixels that a decoder may give: an RGBA image of 64 megapixels. What it takes besides is its own affair: see `DECODERS`.
const MAX_DECODED_BYTES: u64 = 256 << 20;

/// What a PNG file may hold beside its pixels, unpacked. A colour profile of more is left aside; comments of more are refused.
const MAX_EXTRA_BYTES: u64 = 8 << 20;

/// How many passes over its pixels a JPEG may take. Programs write some ten; a few bytes each make the decoder go over all of them.
const MAX_SCANS: usize = 64;

/// The extension and the media type of the image in `bytes`.
pub(super) fn check(bytes: &[u8]) -> Result<(&'static str, &'static str), Fault> {
    let unknown = || Fault::UnknownFormat("PNG, JPEG or WebP");
    let format = image::guess_format(bytes).map_err(|_| unknown())?;
    let kind = match format {
        ImageFormat::Png => ("png", "image/png"),
        ImageFormat::Jpeg => ("jpg", "image/jpeg"),
        ImageFormat::WebP => ("webp", "image/webp"),
        _ => return Err(unknown()),
    };
    decode(bytes, format)?;
    Ok(kind)
}

fn decode(bytes: &[u8], format: ImageFormat) -> Result<(), Fault> {
    let damaged = |error: ImageError| Fault::Damaged(error.to_string());
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(at_most(MAX_EXTRA_BYTES));
    // Reads what stands before the pixels, so that a bomb is refused before they are made.
    let mut decoder = reader.into_decoder().map_err(|error| match error {
        ImageError::Limits(_) => Fault::Extras(MAX_EXTRA_BYTES >> 20),
        error => damaged(error),
    })?;
    let (width, height) = decoder.dimensions();
    if [width, height].iter().any(|side| !(MIN_SIDE..=MAX_SIDE).contains(side)) {
        return Err(Fault::Dimensions { width, height });
    }
    // The JPEG decoder fills what is missing with grey.
    if format == ImageFormat::Jpeg {
        match scans(bytes) {
            None => return Err(Fault::Damaged("the end is missing".to_owned())),
            Some(scans) if scans > MAX_SCANS => return Err(Fault::Scans(scans)),
            Some(_) => {}
        }
    }
    let mut limits = at_most(MAX_DECODED_BYTES);
    limits.reserve(decoder.total_bytes()).map_err(damaged)?;
    decoder.set_limits(limits).map_err(damaged)?;
    DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok(())
}

fn at_most(bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

/// How many scans the JPEG stream `bytes` has; `None` where it has no end (ITU T.81, annex B): markers are followed up to the
/// image's EOI, past a thumbnail's within a segment.
fn scans(bytes: &[u8]) -> Option<usize> {
    const EOI: u8 = 0xd9;
    const SOS: u8 = 0xda;
    let mut rest = bytes.get(2..).unwrap_or_default();
    let (mut in_scan, mut scans) = (false, 0);
    loop {
        rest = match rest {
            [0xff, EOI, ..] => return Some(scans),
            [0xff, 0xff, ..] => &rest[1..],
            // Within a scan: a stuffed byte, or a restart marker.
            [0xff, 0x00 | 0xd0..=0xd7, rest @ ..] if in_scan => rest,
            [0xff, marker, high, low, ..] => {
                in_scan = *marker == SOS;
                scans += usize::from(in_scan);
                rest.get(2 + usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
            }
            [_, rest @ ..] if in_scan => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]))
            .write_to(&mut file, format)
            .unwrap();
        file.into_inner()
    }

    #[test]
    fn each_accepted_format_is_told_by_its_bytes() {
        for (format, extension) in
            [(ImageFormat::Png, "png"), (ImageFormat::Jpeg, "jpg"), (ImageFormat::WebP, "webp")]
        {
            assert_eq!(check(&encoded(64, 48, format)).unwrap().0, extension);
        }
    }

    #[test]
    fn a_file_cut_short_is_damaged() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let file = encoded(256, 256, format);
            let result = check(&file[..file.len() / 2]);
            assert!(matches!(result, Err(Fault::Damaged(_))), "{format:?}: {result:?}");
        }
    }

    #[test]
    fn sizes_outside_the_limits_are_refused_with_the_size() {
        let refused = check(&encoded(8, 400, ImageFormat::Png)).unwrap_err();
        assert_eq!(refused, Fault::Dimensions { width: 8, height: 400 });
        let refused = check(&encoded(8200, 16, ImageFormat::Png));
        assert!(matches!(refused, Err(Fault::Dimensions { width: 8200, .. })));
    }

    /// Each of the empty scans would make a decoder go over all the image's blocks.
    #[test]
    fn a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() {
        let file = encoded(64, 64, ImageFormat::Jpeg);
        let end = file.len() - 2;
        let scan = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];
        let with = |scans: usize| [&file[..end], &scan.repeat(scans), &file[end..]].concat();
        assert_eq!(scans(&with(0)), Some(1));
        assert_eq!(check(&with(MAX_SCANS)), Err(Fault::Scans(MAX_SCANS + 1)));
    }

    #[test]
    fn comments_without_end_are_refused() {
        let mut file = encoded(64, 64, ImageFormat::Png);
        let text = [&b"tEXtComment\0"[..], &[b'a'; 9 << 20]].concat();
        let length = u32::try_from(text.len() - 4).unwrap().to_be_bytes();
        let mut checksum = flate2::Crc::new();
        checksum.update(&text);
        let head_ends = 33;
        file.splice(head_ends..head_ends, [&length[..], &text, &checksum.sum().to_be_bytes()].concat());
        assert_eq!(check(&file), Err(Fault::Extras(8)));
    }

    #[test]
    fn other_files_are_not_images_whatever_they_are_called() {
        for file in [&b"%PDF-1.7 ..."[..], b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", b"<svg/>"] {
            assert!(matches!(check(file), Err(Fault::UnknownFormat(_))), "{file:?}");
        }
    }
}
