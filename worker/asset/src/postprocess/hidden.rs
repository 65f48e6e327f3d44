//! Surfaces that nothing outside can see.
//!
//! FlexiCubes takes what is far from the surface for empty, so a solid thing is hollow: it has a second surface inside. The reference
//! finds it with a thousand rendered views and a minimum cut. Here the space around the mesh is flooded from outside on a grid, and a
//! piece of the mesh whose faces do not look at the flood goes as a whole. Where the surface only grazes a voxel, the second one
//! comes as near to the first as the grid can tell, so that to be touched by the flood says nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rayon::prelude::*;

use super::components::Components;
use crate::Mesh;
use crate::mesh::{cross, minus, normalised};

/// Cells of the grid along the longest side, the finest of the mesh decoder.
const SIDE: usize = 256;
/// Samples of all faces together. A mesh whose faces cover more cells gets a coarser grid.
const MAX_SAMPLES: usize = 1 << 26;
/// The flood ends after so many sweeps, which only a maze needs. What it has not reached then counts as seen.
const MAX_SWEEPS: usize = 256;
/// A piece stays when so much of its surface looks outside: some faces of a hidden one are folded over.
const LEAST_SEEN: f64 = 0.05;
/// So many half cells in front of a face are looked at.
const LOOK: usize = 4;

/// Removes the pieces whose faces look at places that no path from outside leads to, on a grid of 256 cells along the longest side: what is
/// behind gaps narrower than a cell is hidden. Pieces of which the grid cannot tell stay. The result is the number of those that went.
pub fn without_hidden(mesh: &mut Mesh) -> usize {
    let components = Components::of(mesh);
    if components.count < 2 {
        return 0;
    }
    let grid = Grid::around(mesh);
    let solid = grid.solid(mesh);
    let Some(outside) = flood(&grid, &solid) else { return 0 };
    let counts = || (0..components.count).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>();
    let (seen, hidden) = (counts(), counts());
    mesh.faces.par_iter().zip(&components.of_face).for_each(|(face, &component)| {
        let corners = face.map(|vertex| mesh.vertices[vertex as usize]);
        if let Some(is_seen) = grid.looks_outside(corners, &outside, &solid) {
            let counts = if is_seen { &seen } else { &hidden };
            counts[component as usize].fetch_add(grid.steps(corners).pow(2), Ordering::Relaxed);
        }
    });
    let keep: Vec<bool> = seen
        .into_iter()
        .zip(hidden)
        .map(|(seen, hidden)| (seen.into_inner(), hidden.into_inner()))
        .map(|(seen, hidden)| hidden == 0 || seen as f64 > LEAST_SEEN * (seen + hidden) as f64)
        .collect();
    components.retain(mesh, &keep)
}

/// Cells around a mesh, one bit each, 64 along x in a word. The outermost cells are empty.
struct Grid {
    origin: [f32; 3],
    cell: f32,
    /// Words along x, rows along y and z.
    size: [usize; 3],
}

impl Grid {
    fn around(mesh: &Mesh) -> Self {
        let bound = |pick: fn(f32, f32) -> f32| {
            let start = mesh.vertices.first().copied().unwrap_or_default();
            mesh.vertices
                .iter()
                .fold(start, |bound, p| std::array::from_fn(|axis| pick(bound[axis], p[axis])))
        };
        let (min, max) = (bound(f32::min), bound(f32::max));
        let longest = (0..3).map(|axis| max[axis] - min[axis]).fold(f32::MIN_POSITIVE, f32::max);
        let mut side = SIDE;
        loop {
            // Two cells more at each end, for what rounding does.
            let cell = longest / (side - 4) as f32;
            let cells: [usize; 3] = std::array::from_fn(|axis| ((max[axis] - min[axis]) / cell) as usize + 4);
            let origin = min.map(|x| x - 1.5 * cell);
            let grid = Self { origin, cell, size: [cells[0].div_ceil(64), cells[1], cells[2]] };
            let corners = |face: &[u32; 3]| face.map(|vertex| mesh.vertices[vertex as usize]);
            let samples: usize = mesh.faces.par_iter().map(|face| grid.steps(corners(face)).pow(2)).sum();
            if samples <= MAX_SAMPLES || side <= 16 {
                return grid;
            }
            side /= 2;
        }
    }

    /// Into how many parts the sides of a triangle are divided so that samples are at most half a cell apart.
    fn steps(&self, [a, b, c]: [[f32; 3]; 3]) -> usize {
        let longest = (0..3)
            .map(|axis| {
                let (low, high) = (a[axis].min(b[axis]).min(c[axis]), a[axis].max(b[axis]).max(c[axis]));
                high - low
            })
            .fold(0.0, f32::max);
        (longest / self.cell * 2.0).ceil().clamp(1.0, 4.0 * SIDE as f32) as usize
    }

    /// Points of a triangle, its corners among them.
    fn samples(&self, corners: [[f32; 3]; 3]) -> impl Iterator<Item = [f32; 3]> {
        let steps = self.steps(corners);
        let point = move |i: usize, j: usize| {
            let shares = [i, j, steps - i - j].map(|part| part as f32 / steps as f32);
            std::array::from_fn(|axis| (0..3).map(|corner| shares[corner] * corners[corner][axis]).sum())
        };
        (0..=steps).flat_map(move |i| (0..=steps - i).map(move |j| point(i, j)))
    }

    /// The cell of a point, never one of the outermost.
    fn cell(&self, point: [f32; 3]) -> [usize; 3] {
        std::array::from_fn(|axis| {
            let cells = if axis == 0 { self.size[0] * 64 } else { self.size[axis] };
            (((point[axis] - self.origin[axis]) / self.cell) as usize).clamp(1, cells - 2)
        })
    }

    fn row(&self, y: usize, z: usize) -> usize {
        (z * self.size[1] + y) * self.size[0]
    }

    fn words(&self) -> usize {
        self.size.iter().product()
    }

    /// The cells that faces go through.
    fn solid(&self, mesh: &Mesh) -> Vec<u64> {
        let cells: Vec<AtomicU64> = (0..self.words()).map(|_| AtomicU64::new(0)).collect();
        mesh.faces.par_iter().for_each(|face| {
            for point in self.samples(face.map(|vertex| mesh.vertices[vertex as usize])) {
                let [x, y, z] = self.cell(point);
                cells[self.row(y, z) + x / 64].fetch_or(1 << (x % 64), Ordering::Relaxed);
            }
        });
        cells.into_iter().map(AtomicU64::into_inner).collect()
    }

    /// Whether the first cell in front of a face that no face goes through is outside. `None`: there is none near by, or the face has no direction.
    fn looks_outside(&self, [a, b, c]: [[f32; 3]; 3], outside: &[u64], solid: &[u64]) -> Option<bool> {
        let normal = normalised(cross(minus(b, a), minus(c, a)))?;
        let ahead = |half_cells: usize| {
            let way = half_cells as f32 * 0.5 * self.cell;
            self.cell(std::array::from_fn(|axis| (a[axis] + b[axis] + c[axis]) / 3.0 + way * normal[axis]))
        };
        (1..=LOOK).map(ahead).find(|&cell| !self.has(solid, cell)).map(|cell| self.has(outside, cell))
    }

    fn has(&self, set: &[u64], [x, y, z]: [usize; 3]) -> bool {
        set[self.row(y, z) + x / 64] >> (x % 64) & 1 == 1
    }
}

/// The cells that a path leads to, through sides of cells that are not solid, from the outermost. `None`: there is no end of it.
fn flood(grid: &Grid, solid: &[u64]) -> Option<Vec<u64>> {
    let [width, height, depth] = grid.size;
    let mut reached = vec![0u64; solid.len()];
    for z in 0..depth {
        for y in 0..height {
            let row = grid.row(y, z);
            if y == 0 || z == 0 || y + 1 == height || z + 1 == depth {
                reached[row..row + width].fill(!0);
            } else {
                reached[row] |= 1;
                reached[row + width - 1] |= 1 << 63;
            }
        }
    }
    let inner: Vec<usize> =
        (1..depth - 1).flat_map(|z| (1..height - 1).map(move |y| grid.row(y, z))).collect();
    for sweep in 0..MAX_SWEEPS {
        let mut changed = false;
        for index in 0..inner.len() {
            // Back and forth, so that the flood crosses the grid in one sweep.
            let row = inner[if sweep % 2 == 0 { index } else { inner.len() - 1 - index }];
            changed |= spread(&mut reached, solid, row, [width, width * height]);
        }
        if !changed {
            return Some(reached);
        }
    }
    None
}

/// Floods a row from the rows beside it and along itself. Whether anything changed.
fn spread(reached: &mut [u64], solid: &[u64], row: usize, [y, z]: [usize; 2]) -> bool {
    let mut changed = false;
    let width = y;
    for word in row..row + width {
        let beside = reached[word - y] | reached[word + y] | reached[word - z] | reached[word + z];
        let new = (reached[word] | beside) & !solid[word];
        changed |= new != reached[word];
        reached[word] = new;
    }
    if !changed {
        return false;
    }
    for word in row..row + width {
        let before = if word > row { reached[word - 1] >> 63 } else { 0 };
        let open = !solid[word];
        reached[word] = upwards(reached[word] | before & open, open);
    }
    for word in (row..row + width).rev() {
        let after = if word + 1 < row + width { reached[word + 1] << 63 } else { 0 };
        let open = !solid[word].reverse_bits();
        let flipped = reached[word].reverse_bits() | after.reverse_bits() & open;
        reached[word] = upwards(flipped, open).reverse_bits();
    }
    true
}

/// The set bits and the open ones that follow them without a gap.
fn upwards(mut set: u64, mut open: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        set |= open & (set << shift);
        open &= open << shift;
    }
    set
}
