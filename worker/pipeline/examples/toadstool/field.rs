//! The formula in the place of the decoders' structure and mesh: voxels that the surface passes through, and values at the corners of their cubes.

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};
use trellis::Result;
use trellis::asset::Mesh;
use trellis::flexicubes::{CubeWeights, VertexValues, surface as extract};

use crate::shape::solid;
use crate::solid::Solid;

/// Voxels along each side of the sparse structure.
const VOXELS: u16 = 64;
/// Cubes along each side of a voxel, as the mesh decoder makes them.
const CUBES: u16 = 4;
const RESOLUTION: u16 = VOXELS * CUBES;

/// A voxel, or a vertex of the grid of cubes.
pub(crate) type Cell = [u16; 3];

/// The voxels that the surface passes through.
pub(crate) fn voxels() -> Vec<Cell> {
    let all: Vec<Cell> = (0..VOXELS)
        .flat_map(|x| (0..VOXELS).flat_map(move |y| (0..VOXELS).map(move |z| [x, y, z])))
        .collect();
    let passes = |voxel: &Cell| {
        let middle = voxel.map(|at| (f32::from(at) + 0.5) / f32::from(VOXELS) - 0.5);
        // Distances of formulas are estimates: far off by more than a voxel's size is far off.
        if solid(middle).distance.abs() > 1.5 / f32::from(VOXELS) {
            return false;
        }
        let mut inside = corners(*voxel).map(|vertex| at(vertex).distance < 0.0);
        let first = inside.next();
        inside.any(|other| Some(other) != first)
    };
    all.into_par_iter().filter(passes).collect()
}

/// The surface by FlexiCubes.
pub(crate) fn surface(voxels: &[Cell]) -> Result<Mesh> {
    let mut vertices: Vec<Cell> = voxels.par_iter().flat_map_iter(|&voxel| corners(voxel)).collect();
    vertices.par_sort_unstable();
    vertices.dedup();
    let values: Vec<Solid> = vertices.par_iter().map(|&vertex| at(vertex)).collect();
    let distances: Vec<f32> = values.iter().map(|value| value.distance).collect();
    let colors: Vec<f32> = values.iter().flat_map(|value| value.color.map(logit)).collect();
    let inside: Vec<Cell> =
        vertices.iter().zip(&distances).filter(|(_, d)| **d < 0.0).map(|(vertex, _)| *vertex).collect();
    let rows = |flat: &[f32], width: i64| Tensor::from_slice(flat).reshape([-1, width]);
    let zeros = |rows: i64, width: i64, kind: Kind| Tensor::zeros([rows, width], (kind, Device::Cpu));
    let values = VertexValues {
        coords: cells(&vertices),
        sdf: Tensor::from_slice(&distances),
        deform: zeros(vertices.len() as i64, 3, Kind::Float),
        attributes: rows(&colors, 3),
    };
    let weights = CubeWeights { coords: zeros(0, 3, Kind::Int), raw: zeros(0, 21, Kind::Float) };
    Ok(extract(RESOLUTION, &cells(&inside), &values, &weights)?.into_mesh())
}

fn cells(cells: &[Cell]) -> Tensor {
    let flat: Vec<i32> = cells.as_flattened().iter().copied().map(i32::from).collect();
    Tensor::from_slice(&flat).reshape([-1, 3])
}

/// The vertices of a voxel's cubes.
fn corners(voxel: Cell) -> impl Iterator<Item = Cell> {
    let side = CUBES + 1;
    (0..side.pow(3)).map(move |index| {
        let steps = [index / side / side, index / side % side, index % side];
        std::array::from_fn(|axis| voxel[axis] * CUBES + steps[axis])
    })
}

fn at(vertex: Cell) -> Solid {
    solid(vertex.map(|at| f32::from(at) / f32::from(RESOLUTION) - 0.5))
}

/// Of which the sigmoid is the value.
fn logit(value: f32) -> f32 {
    let value = value.clamp(0.001, 0.999);
    (value / (1.0 - value)).ln()
}
