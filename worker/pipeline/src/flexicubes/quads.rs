//! Faces: a quad around every grid edge that the surface crosses, split into two triangles.

use rayon::prelude::*;

use super::cases::edge_between;
use super::crossed::CrossedCubes;
use super::dual::DualVertices;
use super::field::Field;
use super::signs::{above, bit, positions};

/// Where a grid edge lies in each of its four cubes.
struct EdgeDirection {
    /// Steps from the edge's first end to its cubes, ascending: 1 means one cube back on that axis.
    cubes: [[usize; 3]; 4],
    /// The number of the edge in each of them.
    edges: [usize; 4],
}

impl EdgeDirection {
    /// The edges that run along an axis from their first end, upwards or (y) downwards.
    fn along(axis: usize) -> Self {
        let downwards = axis == 1;
        let cubes = match axis {
            0 => [[0, 1, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0]],
            1 => [[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0]],
            _ => [[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]],
        };
        let edges = cubes.map(|[x, y, z]| {
            let first = x | y << 1 | z << 2;
            let second = if downwards { first & !(1 << axis) } else { first | 1 << axis };
            edge_between(first, second)
        });
        Self { cubes, edges }
    }
}

/// The edges' directions as numbers for the kernels, in the order of the edges' second ends: for each of the four cubes the
/// steps to it, and the number of the edge in it.
pub(super) fn directions() -> Vec<i32> {
    let numbers = |axis| {
        let EdgeDirection { cubes, edges } = EdgeDirection::along(axis);
        cubes.into_iter().zip(edges).flat_map(|([x, y, z], edge)| [x, y, z, edge].map(|number| number as i32))
    };
    [1, 2, 0].into_iter().flat_map(numbers).collect()
}

/// Triangles by the side on which the first end of their edge lies.
#[derive(Default)]
struct Faces {
    first_outside: Vec<[u32; 3]>,
    first_inside: Vec<[u32; 3]>,
}

/// All triangles: those around edges whose first end is outside, then the rest, each in the order of their edges.
pub(super) fn connect(field: &Field, crossed: &CrossedCubes, dual: &DualVertices) -> Vec<[u32; 3]> {
    let mesher = Mesher { field, crossed, dual, directions: [0, 1, 2].map(EdgeDirection::along) };
    let slabs: Vec<Faces> = (0..=field.resolution).into_par_iter().map(|x| mesher.slab(x)).collect();
    let outside = slabs.iter().flat_map(|faces| &faces.first_outside);
    outside.chain(slabs.iter().flat_map(|faces| &faces.first_inside)).copied().collect()
}

struct Mesher<'a> {
    field: &'a Field,
    crossed: &'a CrossedCubes,
    dual: &'a DualVertices,
    directions: [EdgeDirection; 3],
}

impl Mesher<'_> {
    /// The faces around edges that start at vertices with this x. Edges on the boundary have no four cubes.
    fn slab(&self, x: usize) -> Faces {
        let resolution = self.field.resolution;
        let mut faces = Faces::default();
        for y in 0..=resolution {
            let column = self.field.signs.column(x, y);
            let words = column.len();
            let between = |v: usize| v > 0 && v < resolution;
            let towards_x = (x < resolution && between(y)).then(|| self.field.signs.column(x + 1, y));
            let towards_y = (between(x) && y > 0).then(|| self.field.signs.column(x, y - 1));
            for word in 0..words {
                let here = column[word];
                let x_crossed = towards_x.map_or(0, |next| here ^ next[word]);
                let y_crossed = towards_y.map_or(0, |next| here ^ next[word]);
                let z_crossed =
                    if between(x) && between(y) { here ^ above(|w| column[w], word, words) } else { 0 };
                for z in positions(x_crossed | y_crossed | z_crossed, word) {
                    let is_set = |crossed: u64| crossed >> (z % 64) & 1 == 1;
                    let first_inside = bit(column, z);
                    // The order of the edges' second ends.
                    let crossings = [
                        (1, is_set(y_crossed) && between(z)),
                        (2, is_set(z_crossed) && z < resolution),
                        (0, is_set(x_crossed) && between(z)),
                    ];
                    for (axis, _) in crossings.into_iter().filter(|&(_, is_crossed)| is_crossed) {
                        faces.add(first_inside, self.quad([x, y, z], &self.directions[axis]));
                    }
                }
            }
        }
        faces
    }

    /// The dual vertices around an edge, with the γ of their cubes.
    fn quad(&self, first: [usize; 3], direction: &EdgeDirection) -> [(u32, f32); 4] {
        std::array::from_fn(|index| {
            let cube = std::array::from_fn(|axis| first[axis] - direction.cubes[index][axis]);
            let row = self.crossed.row(cube).expect("every cube at a crossed edge is crossed");
            let patch = self.crossed.cubes[row].case().patch_of(direction.edges[index]);
            (self.dual.first[row] + patch as u32, self.field.weights(cube).gamma())
        })
    }
}

impl Faces {
    fn add(&mut self, first_inside: bool, quad: [(u32, f32); 4]) {
        let (order, faces) = if first_inside {
            ([2, 3, 1, 0], &mut self.first_inside)
        } else {
            ([0, 1, 3, 2], &mut self.first_outside)
        };
        let [(a, ga), (b, gb), (c, gc), (d, gd)] = order.map(|index| quad[index]);
        faces.extend(if ga * gc > gb * gd { [[a, b, c], [a, c, d]] } else { [[a, b, d], [d, b, c]] });
    }
}
