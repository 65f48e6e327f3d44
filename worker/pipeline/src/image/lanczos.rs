//! Lanczos resampling of 8-bit pixels in fixed point, equal to Pillow's bit for bit: the model was trained on images
//! that Pillow resized. Rows first, rounded to 8 bits, then columns. Coefficients have 22 fractional bits.

use std::f64::consts::PI;

/// Lobes of the kernel on each side.
const LOBES: f64 = 3.0;
const FRACTION_BITS: u32 = 22;

/// A pixel of four independent channels.
pub type Pixel = [u8; 4];

/// Resizes an image of `from` to `to` (width, height; none of them 0). `read_row(y, row)` fills row `y` of the source,
/// so a source need not exist as a whole. Returns rows of pixels.
pub fn resize(
    from: (usize, usize),
    to: (usize, usize),
    mut read_row: impl FnMut(usize, &mut [Pixel]),
) -> Vec<Pixel> {
    let (across, down) = (taps(from.0, to.0), taps(from.1, to.1));
    let mut source = vec![Pixel::default(); from.0];
    let mut narrow = Vec::with_capacity(to.0 * from.1);
    for y in 0..from.1 {
        read_row(y, &mut source);
        narrow.extend(across.iter().map(|taps| taps.apply(source.iter().skip(taps.start))));
    }
    let column = |x: usize, start: usize| narrow.iter().skip(start * to.0 + x).step_by(to.0);
    down.iter().flat_map(|taps| (0..to.0).map(|x| taps.apply(column(x, taps.start)))).collect()
}

/// The source samples that one output sample is a weighted sum of.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

impl Taps {
    fn apply<'a>(&self, samples: impl Iterator<Item = &'a Pixel>) -> Pixel {
        let mut sums = [1i32 << (FRACTION_BITS - 1); 4];
        for (pixel, weight) in samples.zip(&self.weights) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(value) * weight;
            }
        }
        sums.map(|sum| (sum >> FRACTION_BITS).clamp(0, 255) as u8)
    }
}

/// The taps of each of `to` output samples along an axis of `from` source samples.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = LOBES * stretch;
    let output = |index: usize| {
        let center = (index as f64 + 0.5) * scale;
        // `as` truncates toward zero and saturates, as the C cast and the clamp after it do.
        let start = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let kernel: Vec<f64> =
            (start..end).map(|sample| lanczos((sample as f64 - center + 0.5) * (1.0 / stretch))).collect();
        let total: f64 = kernel.iter().sum();
        Taps { start, weights: kernel.iter().map(|weight| fixed_point(weight / total)).collect() }
    };
    (0..to).map(output).collect()
}

fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1 << FRACTION_BITS) + 0.5f64.copysign(weight)) as i32
}

fn lanczos(x: f64) -> f64 {
    if (-LOBES..LOBES).contains(&x) { sinc(x) * sinc(x / LOBES) } else { 0.0 }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_image_stays_flat_at_any_size() {
        let color = [0, 1, 254, 255];
        for (from, to) in [((1, 1), (518, 518)), ((1000, 3), (7, 518)), ((518, 518), (518, 518))] {
            let resized = resize(from, to, |_, row| row.fill(color));
            assert_eq!(resized, vec![color; to.0 * to.1], "{from:?} to {to:?}");
        }
    }
}
