//! Image files of every kind, made on the spot.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbaImage};

/// A disc on a transparent background.
pub(crate) fn disc(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (2 * i64::from(x) - i64::from(width), 2 * i64::from(y) - i64::from(height));
        let inside = 2 * (dx * dx + dy * dy) < i64::from(width.min(height)).pow(2);
        image::Rgba([x as u8, y as u8, 90, if inside { 255 } else { 0 }])
    })
}

pub(crate) fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// A chunk of a PNG file, with its checksum.
pub(crate) fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = (data.len() as u32).to_be_bytes().to_vec();
    chunk.extend([kind, data].concat());
    let checksum = crc32(&chunk[4..]);
    chunk.extend(checksum.to_be_bytes());
    chunk
}

/// The header of a PNG file that promises this size, and one row's worth of nothing.
pub(crate) fn png_header(width: u32, height: u32) -> Vec<u8> {
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = png_chunk(b"IHDR", &[&size[..], &[8, 6, 0, 0, 0]].concat());
    [b"\x89PNG\r\n\x1a\n", &header[..], &png_chunk(b"IDAT", b"\x78\x9c\x63\0\0\0\x01\0\x01")].concat()
}

/// A PNG file of two by one pixels with a palette: an opaque red, and a green that is half transparent.
pub(crate) fn png_palette() -> Vec<u8> {
    let header = png_chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0]);
    let colors = png_chunk(b"PLTE", &[255, 0, 0, 0, 255, 0]);
    let alphas = png_chunk(b"tRNS", &[255, 128]);
    // A stored deflate block with the row's filter and its two indices, and their Adler-32.
    let row = png_chunk(b"IDAT", &[0x78, 1, 1, 3, 0, 0xfc, 0xff, 0, 0, 1, 0, 5, 0, 2]);
    [b"\x89PNG\r\n\x1a\n", &header[..], &colors, &alphas, &row, &png_chunk(b"IEND", &[])].concat()
}

/// Recomputes the checksums of a PNG file, so that its content is read whatever was changed in it.
pub(crate) fn mend_png(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(chunk) = bytes.get(at + 4..(at + 8).saturating_add(length)) else { return };
        let checksum = crc32(chunk).to_be_bytes();
        let Some(place) = bytes.get_mut(at + 8 + length..at + 12 + length) else { return };
        place.copy_from_slice(&checksum);
        at += 12 + length;
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut checksum = flate2::Crc::new();
    checksum.update(bytes);
    checksum.sum()
}

/// A JPEG file of eight by eight pixels of one colour in cyan, magenta, yellow and black, stored inverted as Adobe's programs do:
/// 255 is no ink.
pub(crate) fn jpeg_cmyk(ink: [u8; 4]) -> Vec<u8> {
    let segment = |marker: u8, data: &[u8]| {
        [&[0xff, marker][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat()
    };
    let adobe = segment(0xee, b"Adobe\0\x64\0\0\0\0\0");
    let quantization = segment(0xdb, &[&[0][..], &[8; 64]].concat());
    let components: Vec<u8> = (1..=4).flat_map(|id| [id, 0x11, 0]).collect();
    let frame = segment(0xc0, &[&[8, 0, 8, 0, 8, 4][..], &components].concat());
    // Differences of the mean: categories 0 to 8 have codes of four bits, the category itself. Everything else: one code, for "no more".
    let mean =
        [&[0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
    let rest = [&[0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0]].concat();
    let scan = segment(0xda, &[4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    let mut bits = String::new();
    for value in ink {
        let difference = i32::from(255 - value) - 128;
        let category = 32 - difference.unsigned_abs().leading_zeros();
        let coded = if difference < 0 { difference + (1 << category) - 1 } else { difference };
        bits += &format!("{category:04b}");
        if category > 0 {
            bits += &format!("{coded:0width$b}", width = category as usize);
        }
        bits += "0";
    }
    bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
    let data = (0..bits.len()).step_by(8).flat_map(|at| {
        let byte = u8::from_str_radix(&bits[at..at + 8], 2).unwrap();
        if byte == 0xff { vec![byte, 0] } else { vec![byte] }
    });
    let head = [&[0xff, 0xd8][..], &adobe, &quantization, &frame].concat();
    let tables = [segment(0xc4, &mean), segment(0xc4, &rest)].concat();
    head.into_iter().chain(tables).chain(scan).chain(data).chain([0xff, 0xd9]).collect()
}

/// A JPEG photo with the EXIF orientation 6, "rotate by 90 degrees to the right".
pub(crate) fn jpeg_sideways(width: u32, height: u32) -> Vec<u8> {
    let photo =
        image::RgbImage::from_fn(width, height, |x, _| image::Rgb([if x < width / 2 { 250 } else { 5 }; 3]));
    let mut jpeg = encode(photo, ImageFormat::Jpeg);
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    jpeg.splice(2..2, exif.iter().copied());
    jpeg
}

/// A WebP animation whose frames are these images of one size.
pub(crate) fn webp_animation(frames: &[RgbaImage]) -> Vec<u8> {
    let chunk = |kind: &[u8], data: &[u8]| {
        let padding = &[0][..data.len() % 2];
        [kind, &(data.len() as u32).to_le_bytes(), data, padding].concat()
    };
    let (width, height) = frames[0].dimensions();
    let three = |value: u32| value.to_le_bytes()[..3].to_vec();
    let size = [three(width - 1), three(height - 1)].concat();
    // Flags: alpha and animation.
    let mut body = [b"WEBP".to_vec(), chunk(b"VP8X", &[&[0x12, 0, 0, 0][..], &size].concat())].concat();
    body.extend(chunk(b"ANIM", &[0; 6]));
    for frame in frames {
        let still = encode(frame.clone(), ImageFormat::WebP);
        // Shown for 100 ms, and not blended with what was there.
        let head = [vec![0; 6], size.clone(), three(100), vec![2]].concat();
        // Behind "RIFF", length and "WEBP": the chunk with the pixels.
        body.extend(chunk(b"ANMF", &[&head[..], &still[12..]].concat()));
    }
    chunk(b"RIFF", &body)
}
