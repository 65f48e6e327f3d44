//! Gaussians as seen from near by.

use rayon::prelude::*;

use super::bvh::Bounds;
use super::flats::Flats;
use super::shade::Volume;
use super::view::{Look, View};
use crate::Gaussians;
use crate::mesh::{dot, minus};

/// The constant spherical harmonic.
const HARMONIC: f32 = 0.282_094_8;
/// Gaussians end at so many standard deviations.
pub(super) const DEVIATIONS: f32 = 3.0;
/// What is less opaque does not show in 8 bits.
const LEAST_OPACITY: f32 = 1.0 / 255.0;
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

/// One Gaussian.
#[derive(Debug, Clone, Copy)]
pub(super) struct Splat {
    pub(super) position: [f32; 3],
    /// xx, xy, xz, yy, yz, zz.
    pub(super) covariance: [f32; 6],
    pub(super) color: [f32; 3],
    pub(super) opacity: f32,
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
        let wanted = |splat: &Splat, place: [f32; 3]| {
            let within = |axis: usize| {
                place[axis] + splat.radius >= window.min[axis]
                    && place[axis] - splat.radius <= window.max[axis]
            };
            (0..3).all(within)
        };
        Flats::new(near, view, self.footprint, wanted)
    }

    fn look(&self, seen: &Flats, look: &Look) -> [f32; 4] {
        seen.look(look)
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
