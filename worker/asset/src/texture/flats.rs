//! Gaussians in the plane across a direction, and looks at them.

use super::splats::{DEVIATIONS, Splat};
use super::view::{Look, View};
use crate::mesh::dot;

/// Gaussians that are tried at once.
const BLOCK: usize = 8;
/// A look ends where less than this is still to be seen.
const LEAST_TRANSMITTANCE: f32 = 0.01;

/// The outermost first.
pub(super) struct Flats {
    blocks: Vec<Block>,
    /// How far the farthest reaches outwards.
    depth: f32,
}

/// Some Gaussians, value by value. Places that are not taken have no opacity.
#[derive(Clone, Copy, Default)]
struct Block {
    right: [f32; BLOCK],
    up: [f32; BLOCK],
    outwards: [f32; BLOCK],
    /// The inverse of the covariance.
    inverse: [[f32; BLOCK]; 3],
    /// How much farther outwards it is densest, for each step right and up.
    slope: [[f32; BLOCK]; 2],
    opacity: [f32; BLOCK],
    color: [[f32; 3]; BLOCK],
}

impl Flats {
    /// Those of the Gaussians that are `wanted` at their place, blurred by what a texel shows: the variance `footprint`.
    pub(super) fn new(
        splats: &[Splat],
        view: &View,
        footprint: f32,
        wanted: impl Fn(&Splat, [f32; 3]) -> bool,
    ) -> Self {
        let place = |(index, splat): (usize, &Splat)| {
            let place = view.place(splat.position);
            wanted(splat, place).then(|| (descending(place[2]) << 32 | index as u64, place))
        };
        let mut places: Vec<_> = splats.iter().enumerate().filter_map(place).collect();
        places.sort_unstable_by_key(|&(key, _)| key);
        let mut depth = 0.0f32;
        let block = |places: &[(u64, [f32; 3])]| {
            let mut block = Block { outwards: [f32::NEG_INFINITY; BLOCK], ..Block::default() };
            for (lane, &(key, place)) in places.iter().enumerate() {
                let reach = block.set(lane, &splats[key as u32 as usize], place, view, footprint);
                depth = depth.max(reach);
            }
            block
        };
        let blocks = places.chunks(BLOCK).map(block).collect();
        Self { blocks, depth }
    }

    /// What a look meets, from outside to inside, blended as the reference's rasteriser does: in the order of the centres. A Gaussian is met if it is
    /// densest on the line within the look.
    pub(super) fn look(&self, look: &Look) -> [f32; 4] {
        let (outermost, innermost) = (look.place[2] + look.outside, look.place[2] - look.inside);
        let first = self.blocks.partition_point(|block| block.outwards[BLOCK - 1] > outermost + self.depth);
        let (mut sum, mut transmittance) = ([0.0f32; 3], 1.0f32);
        for block in &self.blocks[first..] {
            if block.outwards[0] < innermost - self.depth || transmittance < LEAST_TRANSMITTANCE {
                break;
            }
            let squares = block.squares(look.place, outermost, innermost);
            if squares.iter().fold(f32::INFINITY, |least, &square| least.min(square))
                >= DEVIATIONS * DEVIATIONS
            {
                continue;
            }
            let alphas = block.alphas(&squares);
            for (alpha, color) in alphas.into_iter().zip(&block.color).filter(|&(alpha, _)| alpha > 0.0) {
                for (sum, color) in sum.iter_mut().zip(color) {
                    *sum += transmittance * alpha * color;
                }
                transmittance *= 1.0 - alpha;
            }
        }
        [sum[0], sum[1], sum[2], 1.0 - transmittance]
    }
}

impl Block {
    /// Takes a Gaussian in; the result is how far it reaches outwards.
    fn set(&mut self, lane: usize, splat: &Splat, place: [f32; 3], view: &View, footprint: f32) -> f32 {
        let [xx, xy, xz, yy, yz, zz] = splat.covariance;
        let times = |v: [f32; 3]| [dot([xx, xy, xz], v), dot([xy, yy, yz], v), dot([xz, yz, zz], v)];
        let (right, up) = (times(view.right), times(view.up));
        let (a, b, c) = (dot(right, view.right), dot(right, view.up), dot(up, view.up));
        let (along_right, along_up) = (dot(right, view.outwards), dot(up, view.outwards));
        let sharp = (a * c - b * b).max(0.0);
        // The blurred is as much more transparent (Yu et al., "Mip-Splatting", 2024).
        let (a, c) = (a + footprint, c + footprint);
        let blurred = (a * c - b * b).max(f32::MIN_POSITIVE);
        let inverse = [c / blurred, -b / blurred, a / blurred];
        [self.right[lane], self.up[lane], self.outwards[lane]] = place;
        for (values, value) in self.inverse.iter_mut().zip(inverse) {
            values[lane] = value;
        }
        self.slope[0][lane] = inverse[0] * along_right + inverse[1] * along_up;
        self.slope[1][lane] = inverse[1] * along_right + inverse[2] * along_up;
        self.opacity[lane] = splat.opacity * (sharp / blurred).sqrt();
        self.color[lane] = splat.color;
        DEVIATIONS * dot(times(view.outwards), view.outwards).max(0.0).sqrt()
    }

    /// The squares of a line's distances in standard deviations, infinite for what is not met within the depths.
    #[allow(clippy::needless_range_loop, reason = "a plain loop over the lanes becomes vector instructions")]
    fn squares(&self, [right, up, _]: [f32; 3], outermost: f32, innermost: f32) -> [f32; BLOCK] {
        let mut squares = [0.0; BLOCK];
        for lane in 0..BLOCK {
            let (x, y) = (right - self.right[lane], up - self.up[lane]);
            let crosswise = self.inverse[1][lane] * (x + x) * y;
            let square = self.inverse[0][lane] * x * x + crosswise + self.inverse[2][lane] * y * y;
            let densest = self.outwards[lane] + self.slope[0][lane] * x + self.slope[1][lane] * y;
            let met = (densest <= outermost) & (densest >= innermost);
            squares[lane] = if met { square } else { f32::INFINITY };
        }
        squares
    }

    /// How opaque each is at so many standard deviations, squared; not at all beyond the last.
    #[allow(clippy::needless_range_loop, reason = "a plain loop over the lanes becomes vector instructions")]
    fn alphas(&self, squares: &[f32; BLOCK]) -> [f32; BLOCK] {
        let mut alphas = [0.0; BLOCK];
        for lane in 0..BLOCK {
            let alpha = (self.opacity[lane] * bell(squares[lane].min(DEVIATIONS * DEVIATIONS))).min(0.99);
            alphas[lane] = if squares[lane] < DEVIATIONS * DEVIATIONS { alpha } else { 0.0 };
        }
        alphas
    }
}

/// e^(−square/2) for a square of up to 9, to four digits. Unlike the standard library's it is the same on every machine, and for many at once.
fn bell(square: f32) -> f32 {
    // The series of the eighth root, at most 0.57 from zero.
    let x = square * (-1.0 / 16.0);
    let root = 1.0 + x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0)))));
    let fourth = root * root;
    let half = fourth * fourth;
    half * half
}

/// Numbers whose order is the opposite of that of the values.
fn descending(value: f32) -> u64 {
    let bits = value.to_bits();
    u64::from(if bits >> 31 == 1 { bits } else { !bits & 0x7fff_ffff })
}
