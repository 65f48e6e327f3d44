//! Image files that are unusual, broken or meant to harm: each is decoded or refused with what to do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod samples;

use image::{DynamicImage, GrayAlphaImage, ImageBuffer, ImageFormat, LumaA, Rgba, RgbaImage};
use samples::{disc, encode};
use trellis::Error;
use trellis::image::{decode, preprocess};

fn refused<T: std::fmt::Debug>(result: trellis::Result<T>) -> String {
    match result {
        Err(Error::InvalidInput(message)) => message,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let photo = DynamicImage::from(disc(40, 30));
    let files = [
        ("png", encode(disc(40, 30), ImageFormat::Png)),
        ("jpeg", encode(photo.to_rgb8(), ImageFormat::Jpeg)),
        ("webp", encode(disc(40, 30), ImageFormat::WebP)),
        ("animation", samples::webp_animation(&[disc(40, 30), disc(40, 30)])),
    ];
    for (name, whole) in files {
        decode(&whole).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The last chunk of a PNG has nothing in it.
        let end = whole.len() - if name == "png" { 12 } else { 0 };
        for length in 0..end {
            let result = decode(&whole[..length]);
            assert!(matches!(result, Err(Error::InvalidInput(_))), "{name} of {length} bytes: {result:?}");
        }
    }
}

#[test]
fn a_header_that_promises_a_huge_image_is_refused_before_memory_is_taken() {
    let (mut jpeg, mut webp) = (samples::jpeg_cmyk([0; 4]), samples::webp_animation(&[disc(8, 8)]));
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    webp[24..30].copy_from_slice(&[0xff, 0x3f, 0, 0xff, 0x3f, 0]);
    for (name, file) in [
        ("png", samples::png_header(0x40_0000, 0x40_0000)),
        ("wide png", samples::png_header(20_000, 10)),
        ("jpeg", jpeg),
        ("webp", webp),
    ] {
        let message = refused(decode(&file));
        assert!(message.contains("too large") && message.contains("send a smaller one"), "{name}: {message}");
    }
}

#[test]
fn metadata_that_inflates_to_gigabytes_does_not() {
    // A text chunk whose stream is one stored block that announces far more than it has.
    let mut file = encode(disc(40, 30), ImageFormat::Png);
    let bomb = samples::png_chunk(b"zTXt", b"a\0\0\x78\x9c\x01\xff\xff\0\0");
    file.splice(33..33, bomb);
    assert_eq!(decode(&file).unwrap(), disc(40, 30));
    let long = [&b"Comment\0"[..], &[b'a'; 9 << 20]].concat();
    file.splice(33..33, samples::png_chunk(b"tEXt", &long));
    let message = refused(decode(&file));
    assert!(message.contains("more than 8 MiB beside its pixels"), "{message}");
}

#[test]
fn other_files_are_told_to_be_converted() {
    for file in [&b"GIF89a\x01\x00\x01\x00"[..], b"%PDF-1.7", b"", b"II*\0", b"\0\0\0\x20ftypheic"] {
        assert!(refused(decode(file)).contains("convert it to PNG"), "{}", refused(decode(file)));
    }
}

#[test]
fn grey_palette_and_16_bit_images_become_8_bit_colour() {
    let grey = GrayAlphaImage::from_pixel(2, 1, LumaA([7, 200]));
    assert_eq!(decode(&encode(grey, ImageFormat::Png)).unwrap().get_pixel(1, 0).0, [7, 7, 7, 200]);
    let palette = decode(&samples::png_palette()).unwrap();
    assert_eq!(palette.as_raw(), &[255, 0, 0, 255, 0, 255, 0, 128]);
    let deep = ImageBuffer::from_pixel(2, 1, Rgba([65_535u16, 257, 0, 32_896]));
    assert_eq!(decode(&encode(deep, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [255, 1, 0, 128]);
    let grey_photo = image::GrayImage::from_pixel(9, 9, image::Luma([77]));
    assert_eq!(decode(&encode(grey_photo, ImageFormat::Jpeg)).unwrap().get_pixel(4, 4).0, [77, 77, 77, 255]);
}

#[test]
fn printers_inks_become_the_colour_that_they_print() {
    for (ink, color) in [
        ([0, 0, 0, 0], [255, 255, 255]),
        ([0, 255, 255, 0], [255, 0, 0]),
        ([255, 0, 255, 0], [0, 255, 0]),
        ([0, 0, 0, 255], [0, 0, 0]),
    ] {
        let [r, g, b, a] = decode(&samples::jpeg_cmyk(ink)).unwrap().get_pixel(3, 3).0;
        let furthest = [r, g, b].iter().zip(color).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        assert!(furthest <= 2 && a == 255, "{ink:?} became {:?}", [r, g, b]);
    }
}

#[test]
fn a_photo_taken_sideways_is_turned_upright() {
    let upright = decode(&samples::jpeg_sideways(32, 16)).unwrap();
    assert_eq!(upright.dimensions(), (16, 32));
    // What was left of the photo is up.
    assert!(upright.get_pixel(8, 4)[0] > 200 && upright.get_pixel(8, 28)[0] < 50);
}

#[test]
fn of_an_animation_the_first_frame_is_taken() {
    let second = RgbaImage::from_pixel(20, 10, Rgba([1, 2, 3, 255]));
    let first = disc(20, 10);
    let decoded = decode(&samples::webp_animation(&[first.clone(), second])).unwrap();
    let visible =
        |image: &RgbaImage| image.pixels().map(|pixel| (pixel[3] > 0).then_some(pixel.0)).collect::<Vec<_>>();
    assert_eq!(visible(&decoded), visible(&first));
}

#[test]
fn extreme_shapes_are_framed_or_refused_with_what_to_send() {
    for (width, height) in [(1, 1), (8192, 1), (1, 8192)] {
        let clear = encode(RgbaImage::new(width, height), ImageFormat::Png);
        assert!(refused(preprocess(&decode(&clear).unwrap())).contains("send an image"));
    }
    let line = RgbaImage::from_pixel(2000, 1, Rgba([200, 100, 50, 255]));
    assert_eq!(preprocess(&line).unwrap().dimensions(), (518, 518));
}
