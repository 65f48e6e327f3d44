//! Files with random damage: the image decoder and the safetensors reader give a result or an error, and never panic.
//!
//! Each case follows from its number alone. A failure prints the command that repeats it; `TRELLIS_FUZZ_CASES` runs more of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod samples;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageFormat};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use samples::{disc, encode};
use trellis::weights::TensorFile;

/// SplitMix64 (Steele et al., 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Changes a few bytes: single ones, lengths, and whole ranges that are lost or come twice.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + self.below(64)).min(bytes.len());
            match self.below(6) {
                0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
                1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.next() as u8),
                2 => {
                    bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = [0, 0x7f, 0xff][self.below(3)])
                }
                3 => drop(bytes.drain(at..end)),
                4 => bytes.extend_from_within(at..end),
                _ => bytes.truncate(at),
            }
        }
    }
}

/// Reads damaged copies of `files`. `mend` may put checksums right, so that damage reaches what is behind them.
fn fuzz(test: &str, files: &[Vec<u8>], mend: impl Fn(&mut [u8]), read: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = match number("TRELLIS_FUZZ_CASE") {
        Some(case) => case..case + 1,
        None => 0..number("TRELLIS_FUZZ_CASES").unwrap_or(1500),
    };
    for case in cases {
        let mut random = Random(case);
        let mut bytes = files[random.below(files.len())].clone();
        random.damage(&mut bytes);
        if random.below(2) == 0 {
            mend(&mut bytes);
        }
        if catch_unwind(AssertUnwindSafe(|| read(&bytes))).is_err() {
            panic!(
                "case {case} panics; to repeat it: TRELLIS_FUZZ_CASE={case} cargo test -p trellis --test fuzz {test}"
            );
        }
    }
}

#[test]
fn damaged_images() {
    let deep = DynamicImage::from(disc(24, 17)).into_rgba16();
    let files = [
        encode(disc(24, 17), ImageFormat::Png),
        encode(deep, ImageFormat::Png),
        samples::png_palette(),
        encode(DynamicImage::from(disc(24, 17)).into_rgb8(), ImageFormat::Jpeg),
        samples::jpeg_cmyk([10, 200, 30, 0]),
        samples::jpeg_sideways(16, 8),
        encode(disc(24, 17), ImageFormat::WebP),
        samples::webp_animation(&[disc(24, 17), disc(24, 17)]),
    ];
    fuzz("damaged_images", &files, samples::mend_png, |bytes| {
        if let Ok(image) = trellis::image::decode(bytes) {
            // Beyond a few hundred pixels, framing costs time and shows nothing new.
            if image.width().max(image.height()) < 300 {
                drop(trellis::image::preprocess(&image));
            }
        }
    });
}

#[test]
fn damaged_weights() {
    let values = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let view = |shape: &[usize], length: usize| {
        TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(&values[..length])).unwrap()
    };
    let tensors = [("a.weight", view(&[2, 3], 6)), ("a.bias", view(&[3], 3)), ("none", view(&[0, 4], 0))];
    let whole = serialize(tensors, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    fuzz("damaged_weights", &[whole], |_| (), |bytes| read_weights(&path, bytes));
}

fn read_weights(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    let Ok(file) = TensorFile::open(path) else { return };
    let names: Vec<String> = file.shapes().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        drop(file.tensor(&name));
    }
}
