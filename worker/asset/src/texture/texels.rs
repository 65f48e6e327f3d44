//! Which place of the surface each texel shows.

use rayon::prelude::*;

use crate::Mesh;
use crate::mesh::{cross, minus, normalised};

/// Rows that one thread fills.
const BAND: usize = 32;

/// A texel that shows a place of the surface.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Texel {
    /// Its number, row by row from the upper left.
    pub(super) index: u32,
    /// The place that its middle shows.
    pub(super) point: [f32; 3],
    /// The unit normal there.
    pub(super) normal: [f32; 3],
}

/// The texels of a picture of `size` × `size` whose middles lie in a face, and of faces without any the one in their middle, row by row. The
/// `coordinates` are those of the vertices in the picture.
pub(super) fn texels(mesh: &Mesh, coordinates: &[[f32; 2]], size: usize) -> Vec<Texel> {
    let scaled = |vertex: u32| coordinates[vertex as usize].map(|x| x * size as f32);
    let flat: Vec<Flat> = mesh.faces.par_iter().map(|face| Flat { corners: face.map(scaled) }).collect();
    let bands = 0..size.div_ceil(BAND);
    let band = |band: usize| {
        let rows = band * BAND..((band + 1) * BAND).min(size);
        let mut owners = vec![0u32; rows.len() * size];
        for (face, flat) in flat.iter().enumerate() {
            flat.cover(&rows, size, |at| {
                if owners[at] == 0 {
                    owners[at] = face as u32 + 1;
                }
            });
        }
        let owned = owners.into_iter().enumerate().filter(|(_, owner)| *owner > 0);
        let texel = |(at, owner): (usize, u32)| {
            let face = owner as usize - 1;
            let middle = [(at % size) as f32 + 0.5, (rows.start + at / size) as f32 + 0.5];
            texel(mesh, rows.start * size + at, mesh.faces[face], flat[face].shares(middle))
        };
        owned.map(texel).collect::<Vec<_>>()
    };
    bands.into_par_iter().flat_map_iter(band).collect()
}

fn texel(mesh: &Mesh, index: usize, face: [u32; 3], shares: [f32; 3]) -> Texel {
    let blend = |list: &[[f32; 3]]| {
        std::array::from_fn(|axis| {
            (0..3).map(|corner| shares[corner] * list[face[corner] as usize][axis]).sum()
        })
    };
    let normal = normalised(blend(&mesh.normals)).unwrap_or_else(|| {
        let [a, b, c] = face.map(|vertex| mesh.vertices[vertex as usize]);
        normalised(cross(minus(b, a), minus(c, a))).unwrap_or([0.0, 0.0, 1.0])
    });
    Texel { index: index as u32, point: blend(&mesh.vertices), normal }
}

/// A face in the picture, in texels.
struct Flat {
    corners: [[f32; 2]; 3],
}

impl Flat {
    /// Calls `found` for each texel of the rows that the face covers.
    fn cover(&self, rows: &std::ops::Range<usize>, size: usize, mut found: impl FnMut(usize)) {
        let [low, high] = [f32::min as fn(f32, f32) -> f32, f32::max]
            .map(|pick| [0, 1].map(|axis| self.corners.iter().map(|c| c[axis]).reduce(pick).unwrap_or(0.0)));
        // Casts keep what is below zero there.
        let first = [0, 1].map(|axis| (low[axis] - 0.5).ceil() as usize);
        let last = [0, 1].map(|axis| (high[axis] + 0.5) as usize);
        for y in first[1].max(rows.start)..last[1].min(rows.end) {
            for x in first[0]..last[0].min(size) {
                if self.contains([x as f32 + 0.5, y as f32 + 0.5]) {
                    found((y - rows.start) * size + x);
                }
            }
        }
        let middle = [0, 1].map(|axis| self.corners.iter().map(|corner| corner[axis]).sum::<f32>() / 3.0);
        let [x, y] = middle.map(|at| at as usize);
        if rows.contains(&y) && x < size {
            found((y - rows.start) * size + x);
        }
    }

    fn parts(&self, point: [f32; 2]) -> [f32; 3] {
        let [a, b, c] = self.corners;
        [twice_area(b, c, point), twice_area(c, a, point), twice_area(a, b, point)]
    }

    fn contains(&self, point: [f32; 2]) -> bool {
        let parts = self.parts(point);
        parts.iter().all(|&part| part >= 0.0) || parts.iter().all(|&part| part <= 0.0)
    }

    /// How a point divides the face, moved into it from outside.
    fn shares(&self, point: [f32; 2]) -> [f32; 3] {
        let [a, b, c] = self.corners;
        let area = twice_area(a, b, c);
        let shares = self.parts(point).map(|part| (part / area).max(0.0));
        let sum: f32 = shares.iter().sum();
        if sum.is_normal() { shares.map(|share| share / sum) } else { [1.0 / 3.0; 3] }
    }
}

fn twice_area(a: [f32; 2], b: [f32; 2], [x, y]: [f32; 2]) -> f32 {
    (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
}
