//! Dual vertices: one for each patch of the surface within a cube.

use rayon::prelude::*;

use super::cases::{EDGES, edges_of};
use super::crossed::{CrossedCubes, Cube};
use super::field::{Field, Vertex, Weights};

/// The dual vertices of all crossed cubes.
#[derive(Debug)]
pub(super) struct DualVertices {
    pub(super) positions: Vec<[f32; 3]>,
    pub(super) attributes: Vec<f32>,
    /// The number of each cube's first vertex; its others follow.
    pub(super) first: Vec<u32>,
}

impl DualVertices {
    /// Numbers and places the vertices: those of cubes with one vertex first, then those of cubes with two, and so on.
    pub(super) fn place(field: &Field, crossed: &CrossedCubes) -> Self {
        let mut vertices =
            Self { positions: vec![], attributes: vec![], first: vec![0; crossed.cubes.len()] };
        for count in 1..=4 {
            let cubes = crossed.cubes.iter().enumerate();
            let rows: Vec<usize> =
                cubes.filter(|(_, cube)| cube.case().patches.len() == count).map(|(row, _)| row).collect();
            let base = vertices.positions.len();
            for (order, &row) in rows.iter().enumerate() {
                vertices.first[row] = (base + order * count) as u32;
            }
            let parts: Vec<Part> = rows
                .par_chunks(4096)
                .map(|rows| Part::of(field, rows.iter().map(|&row| &crossed.cubes[row])))
                .collect();
            for part in parts {
                vertices.positions.extend(part.positions);
                vertices.attributes.extend(part.attributes);
            }
        }
        vertices
    }
}

/// The vertices of some cubes.
#[derive(Default)]
struct Part {
    positions: Vec<[f32; 3]>,
    attributes: Vec<f32>,
}

impl Part {
    fn of<'a>(field: &Field, cubes: impl Iterator<Item = &'a Cube>) -> Self {
        let mut part = Self::default();
        for cube in cubes {
            let [x, y, z] = cube.origin();
            let corners: [Vertex; 8] = std::array::from_fn(|corner| {
                field.vertex([x + (corner & 1), y + (corner >> 1 & 1), z + (corner >> 2)])
            });
            let weights = field.weights([x, y, z]);
            for &patch in &cube.case().patches {
                let mean = Mean::of(patch, &corners, &weights);
                part.positions
                    .push(std::array::from_fn(|axis| mean.apply(|corner| corners[corner].position[axis])));
                part.attributes.extend(
                    (0..field.channels)
                        .map(|channel| mean.apply(|corner| corners[corner].attribute(channel))),
                );
            }
        }
        part
    }
}

/// The β-weighted mean over the crossings of a patch, where each crossing is found on its edge by α-scaled distances.
struct Mean {
    crossings: [Crossing; 12],
    count: usize,
    total: f32,
}

#[derive(Default, Clone, Copy)]
struct Crossing {
    ends: [usize; 2],
    distances: [f32; 2],
    beta: f32,
}

impl Mean {
    fn of(patch: u16, corners: &[Vertex; 8], weights: &Weights) -> Self {
        let mut mean = Self { crossings: [Crossing::default(); 12], count: 0, total: 0.0 };
        for edge in edges_of(patch) {
            let ends = EDGES[edge];
            let distances = ends.map(|corner| corners[corner].sdf * weights.alpha(corner));
            let beta = weights.beta(edge);
            mean.crossings[mean.count] = Crossing { ends, distances, beta };
            mean.count += 1;
            mean.total += beta;
        }
        mean
    }

    fn apply(&self, value: impl Fn(usize) -> f32) -> f32 {
        let weighted = self.crossings[..self.count].iter().map(
            |&Crossing { ends: [a, b], distances: [da, db], beta }| {
                (value(a) * db - value(b) * da) / (db - da) * beta
            },
        );
        weighted.sum::<f32>() / self.total
    }
}
