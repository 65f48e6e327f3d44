//! Gaussians as seen from near by.

use rayon::prelude::*;

use super::bvh::Bounds;
use super::shade::Volume;
use super::view::{Look, View};
use crate::Gaussians;
use crate::mesh::{dot, minus};

/// The constant spherical harmonic.
const HARMONIC: f32 = 0.282_094_8;
/// Gaussians end at so many standard deviations.
const DEVIATIONS: f32 = 3.0;
/// What is less opaque does not show in 8 bits.
const LEAST_OPACITY: f32 = 1.0 / 255.0;
/// A look ends where less than this is still to be seen.
const LEAST_TRANSMITTANCE: f32 = 0.01;
/// So many around one cell are looked at, the most opaque ones.
const MAX_NEAR: usize = 4096;
/// The blur by what a texel shows ends at so many cells: across more, one side of a thin thing would show on the other.
const WIDEST_BLUR: f32 = 0.125;
/// Sizes of Gaussians, each twice the one before.
const LEVELS: usize = 8;
/// Cells along the axes, of the finest grid.
const MAX_CELLS: usize = 64;

/// Gaussians in grids: the larger the Gaussians the coarser the grid.
pub(super) struct Splats {
    /// In the order of their grids and cells.
    splats: Vec<Splat>,
    grids: Vec<Grid>,
    /// The variance of what a texel shows.
    footprint: f32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Splat {
    position: [f32; 3],
    /// xx, xy, xz, yy, yz, zz.
    covariance: [f32; 6],
    color: [f32; 3],
    opacity: f32,
    radius: f32,
}

impl Splats {
    /// Those Gaussians that may be seen in `bounds`; the others have no place in the grids. `texel` is the extent of what a texel shows.
    pub(super) fn new(gaussians: &Gaussians, bounds: &Bounds, texel: f32) -> Self {
        let cell = bounds.extent() / MAX_CELLS as f32;
        let grids: Vec<_> = (0..LEVELS).map(|level| Grid::new(bounds, cell * (1 << level) as f32)).collect();
        let placed = |index: usize| {
            let splat = splat(gaussians, index)?;
            let beyond = bounds.square_distance(splat.position) > splat.radius * splat.radius;
            let level = grids.iter().position(|grid| splat.radius <= grid.cell).unwrap_or(LEVELS - 1);
            (!beyond)
                .then(|| (((level as u64) << 32) | grids[level].index(splat.position) as u64, index, splat))
        };
        let count = gaussians.positions.len();
        let mut placed: Vec<_> = (0..count).into_par_iter().filter_map(placed).collect();
        placed.par_sort_unstable_by_key(|&(cell, index, _)| (cell, index));
        let grids = grids.into_iter().enumerate().map(|(level, grid)| grid.filled(level, &placed)).collect();
        let splats = placed.into_par_iter().map(|(.., splat)| splat).collect();
        Self { splats, grids, footprint: (texel * 0.5).min(cell * WIDEST_BLUR).powi(2) }
    }
}

/// `None` for what cannot be seen: transparent, or not made of numbers.
fn splat(gaussians: &Gaussians, index: usize) -> Option<Splat> {
    let position = gaussians.positions[index];
    let scale = gaussians.scales[index];
    let [w, x, y, z] = {
        let rotation = gaussians.rotations[index];
        let length = rotation.iter().map(|q| q * q).sum::<f32>().sqrt();
        rotation.map(|q| q / length)
    };
    let axes = [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)],
        [2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)],
        [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)],
    ];
    let entry =
        |[i, j]: [usize; 2]| (0..3).map(|axis| scale[axis].powi(2) * axes[axis][i] * axes[axis][j]).sum();
    let covariance: [f32; 6] = [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]].map(entry);
    let color = gaussians.harmonics[index].map(|harmonic| (0.5 + HARMONIC * harmonic).max(0.0));
    let opacity = gaussians.opacities[index].min(1.0);
    let finite = position.iter().chain(&covariance).chain(&color).all(|x| x.is_finite());
    let radius = DEVIATIONS * scale.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
    (finite && opacity >= LEAST_OPACITY).then_some(Splat { position, covariance, color, opacity, radius })
}

/// Gaussians in the plane across a direction, the outermost first.
pub(super) struct Flats {
    flats: Vec<Flat>,
    /// The greatest of theirs.
    depth: f32,
}

/// A Gaussian in the plane across a direction.
struct Flat {
    /// Right, up and outwards.
    place: [f32; 3],
    /// The inverse of its covariance there.
    inverse: [f32; 3],
    /// How much farther outwards it is densest, for each step right and up.
    slope: [f32; 2],
    /// How far it reaches outwards.
    depth: f32,
    opacity: f32,
    color: [f32; 3],
}

impl Volume for Splats {
    type Near = Vec<Splat>;
    type Seen = Flats;

    fn near(&self, bounds: &Bounds) -> Vec<Splat> {
        let mut near = vec![];
        for grid in &self.grids {
            let touches =
                |splat: &&Splat| bounds.square_distance(splat.position) <= splat.radius * splat.radius;
            for cells in grid.rows(bounds) {
                near.extend(self.splats[cells].iter().filter(touches).copied());
            }
        }
        if near.len() > MAX_NEAR {
            near.sort_by(|a, b| b.opacity.total_cmp(&a.opacity));
            near.truncate(MAX_NEAR);
        }
        near
    }

    fn seen(&self, near: &Vec<Splat>, view: &View, window: &Bounds) -> Flats {
        let flat = |splat: &Splat| {
            let place = view.place(splat.position);
            let beyond = |axis: usize| {
                place[axis] + splat.radius < window.min[axis] || place[axis] - splat.radius > window.max[axis]
            };
            (!(0..3).any(beyond)).then(|| self.flat(splat, view, place))
        };
        let mut flats: Vec<_> = near.iter().filter_map(flat).collect();
        flats.sort_by(|a, b| b.place[2].total_cmp(&a.place[2]));
        let depth = flats.iter().map(|flat| flat.depth).fold(0.0, f32::max);
        Flats { flats, depth }
    }

    /// From outside to inside, as the reference's rasteriser blends: in the order of the centres. A Gaussian belongs to the look if it is densest
    /// on the line within the look.
    fn look(&self, seen: &Flats, look: &Look) -> [f32; 4] {
        let [x, y, depth] = look.place;
        let (outermost, innermost) = (depth + look.outside, depth - look.inside);
        let first = seen.flats.partition_point(|flat| flat.place[2] > outermost + seen.depth);
        let (mut sum, mut transmittance) = ([0.0f32; 3], 1.0f32);
        for flat in &seen.flats[first..] {
            if flat.place[2] < innermost - seen.depth || transmittance < LEAST_TRANSMITTANCE {
                break;
            }
            let (dx, dy) = (x - flat.place[0], y - flat.place[1]);
            let [a, b, c] = flat.inverse;
            let square = a * dx * dx + 2.0 * b * dx * dy + c * dy * dy;
            let densest = flat.place[2] + flat.slope[0] * dx + flat.slope[1] * dy;
            if square < DEVIATIONS * DEVIATIONS && densest <= outermost && densest >= innermost {
                let alpha = (flat.opacity * (-0.5 * square).exp()).min(0.99);
                for (sum, color) in sum.iter_mut().zip(flat.color) {
                    *sum += transmittance * alpha * color;
                }
                transmittance *= 1.0 - alpha;
            }
        }
        [sum[0], sum[1], sum[2], 1.0 - transmittance]
    }

    fn around(&self, near: &Vec<Splat>, point: [f32; 3], reach: f32) -> [f32; 4] {
        let mut sum = [0.0; 4];
        for splat in near {
            let way = minus(splat.position, point);
            let weight = splat.opacity * (-2.0 * dot(way, way) / (reach * reach)).exp();
            let [r, g, b] = splat.color;
            for (sum, value) in sum.iter_mut().zip([r, g, b, 1.0]) {
                *sum += weight * value;
            }
        }
        sum
    }
}

impl Splats {
    fn flat(&self, splat: &Splat, view: &View, place: [f32; 3]) -> Flat {
        let [xx, xy, xz, yy, yz, zz] = splat.covariance;
        let times = |v: [f32; 3]| [dot([xx, xy, xz], v), dot([xy, yy, yz], v), dot([xz, yz, zz], v)];
        let (right, up) = (times(view.right), times(view.up));
        let (a, b, c) = (dot(right, view.right), dot(right, view.up), dot(up, view.up));
        let (along_right, along_up) = (dot(right, view.outwards), dot(up, view.outwards));
        let sharp = (a * c - b * b).max(0.0);
        // Blurred by what a texel shows, and as much more transparent (Yu et al., "Mip-Splatting", 2024).
        let (a, c) = (a + self.footprint, c + self.footprint);
        let blurred = (a * c - b * b).max(f32::MIN_POSITIVE);
        let inverse = [c / blurred, -b / blurred, a / blurred];
        Flat {
            place,
            inverse,
            slope: [
                inverse[0] * along_right + inverse[1] * along_up,
                inverse[1] * along_right + inverse[2] * along_up,
            ],
            depth: DEVIATIONS * dot(times(view.outwards), view.outwards).max(0.0).sqrt(),
            opacity: splat.opacity * (sharp / blurred).sqrt(),
            color: splat.color,
        }
    }
}

/// Gaussians of about one size by their cells.
struct Grid {
    origin: [f32; 3],
    cell: f32,
    size: [usize; 3],
    /// Where in the list each cell's Gaussians begin, and where the last one's end.
    starts: Vec<usize>,
}

impl Grid {
    fn new(bounds: &Bounds, cell: f32) -> Self {
        let cells = |axis: usize| {
            (((bounds.max[axis] - bounds.min[axis]) / cell) as usize).clamp(0, MAX_CELLS - 1) + 1
        };
        Self { origin: bounds.min, cell, size: [0, 1, 2].map(cells), starts: vec![] }
    }

    /// With the places of the Gaussians of a level in the sorted list.
    fn filled(mut self, level: usize, placed: &[(u64, usize, Splat)]) -> Self {
        let place = |cell: usize| {
            let key = ((level as u64) << 32) + cell as u64;
            placed.partition_point(|&(other, ..)| other < key)
        };
        self.starts = (0..=self.size.iter().product()).into_par_iter().map(place).collect();
        self
    }

    /// The nearest cell along each axis.
    fn cell(&self, point: [f32; 3]) -> [usize; 3] {
        // A cast keeps what is below zero there.
        std::array::from_fn(|axis| {
            (((point[axis] - self.origin[axis]) / self.cell) as usize).min(self.size[axis] - 1)
        })
    }

    fn index(&self, point: [f32; 3]) -> usize {
        let [x, y, z] = self.cell(point);
        (z * self.size[1] + y) * self.size[0] + x
    }

    /// Where in the list those Gaussians are that may reach into the box.
    fn rows(&self, bounds: &Bounds) -> impl Iterator<Item = std::ops::Range<usize>> {
        let bounds = bounds.grown(self.cell);
        let (low, high) = (self.cell(bounds.min), self.cell(bounds.max));
        let row = move |y: usize, z: usize| (z * self.size[1] + y) * self.size[0];
        (low[2]..=high[2]).flat_map(move |z| {
            (low[1]..=high[1])
                .map(move |y| self.starts[row(y, z) + low[0]]..self.starts[row(y, z) + high[0] + 1])
        })
    }
}
