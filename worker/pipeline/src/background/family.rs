//! What differs between the published networks: what they take, and what their numbers mean.

use image::RgbaImage;

use crate::image::lanczos;

/// Networks that were trained with the same preparation of images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Family {
    /// Side of the square that the network sees.
    pub(super) side: usize,
    mean: [f64; 3],
    std: [f64; 3],
    /// Whether it gives logits rather than probabilities.
    logits: bool,
}

const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

pub(super) const U2NET: Family = Family { side: 320, mean: IMAGENET_MEAN, std: IMAGENET_STD, logits: false };
pub(super) const ISNET: Family = Family { side: 1024, mean: [0.5; 3], std: [1.0; 3], logits: false };
pub(super) const BIREFNET: Family =
    Family { side: 1024, mean: IMAGENET_MEAN, std: IMAGENET_STD, logits: true };

impl Family {
    /// The photo, whatever its shape, as `[1, 3, side, side]`: over its brightest value, normalised.
    pub(super) fn input(self, photo: &RgbaImage) -> Vec<f32> {
        let from = (photo.width() as usize, photo.height() as usize);
        let pixels = lanczos::resize(from, (self.side, self.side), |y, row| {
            let pixels = photo.rows().nth(y).into_iter().flatten();
            row.iter_mut().zip(pixels).for_each(|(to, from)| *to = from.0);
        });
        let brightest = pixels.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).max().unwrap_or(0);
        let scale = f64::from(brightest).max(1e-6);
        let channel = |channel: usize| {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            pixels.iter().map(move |pixel| ((f64::from(pixel[channel]) / scale - mean) / std) as f32)
        };
        (0..3).flat_map(channel).collect()
    }

    /// What the network says of each pixel, spread over 0 to 255. `None`: it says the same of all, or nothing sensible.
    pub(super) fn mask(self, output: &[f32]) -> Option<Vec<u8>> {
        let probability = |&value: &f32| if self.logits { 1.0 / (1.0 + (-value).exp()) } else { value };
        let values: Vec<f32> = output.iter().map(probability).collect();
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let range = values.iter().copied().fold(f32::NEG_INFINITY, f32::max) - low;
        let sensible = values.iter().all(|value| value.is_finite()) && range > 0.0;
        sensible.then(|| values.iter().map(|value| ((value - low) / range * 255.0) as u8).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_tells_nothing_apart_gives_no_mask() {
        for output in [&[0.3f32; 4][..], &[0.0, f32::NAN], &[0.0, f32::INFINITY], &[]] {
            assert_eq!(U2NET.mask(output), None, "{output:?}");
        }
        assert_eq!(U2NET.mask(&[-1.0, 0.0, 1.0]), Some(vec![0, 127, 255]));
    }

    #[test]
    fn a_black_photo_is_a_finite_input() {
        let black = RgbaImage::from_pixel(3, 2, image::Rgba([0, 0, 0, 255]));
        let input = U2NET.input(&black);
        assert_eq!(input.len(), 3 * 320 * 320);
        assert!(input.iter().all(|value| value.is_finite()));
    }
}
