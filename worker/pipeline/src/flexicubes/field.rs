//! What the surface is extracted from.

use tch::{Kind, Tensor};

use super::columns::Columns;
use crate::{Error, Result};

/// Numbers for each cube: 12 for its edges (β), 8 for its corners (α), one for the splitting of quads (γ).
const CUBE_WEIGHTS: usize = BETA + ALPHA + 1;
const BETA: usize = 12;
const ALPHA: usize = 8;

/// Values at grid vertices, as tensors of one device.
#[derive(Debug)]
pub struct VertexValues {
    /// `[V, 3]` in lexicographic order, distinct, each from 0 to the resolution.
    pub coords: Tensor,
    /// Signed distances `[V]`, negative inside.
    pub sdf: Tensor,
    /// Raw deformation `[V, 3]`: tanh of it, in units of half a cell, moves the vertex.
    pub deform: Tensor,
    /// Raw attributes `[V, A]`; the surface has their sigmoids. `A` may be 0.
    pub attributes: Tensor,
}

/// Raw weights of cubes.
#[derive(Debug)]
pub struct CubeWeights {
    /// `[M, 3]` in lexicographic order, distinct: the lowest corner of each cube.
    pub coords: Tensor,
    /// `[M, 21]`: β 12, α 8, γ 1.
    pub raw: Tensor,
}

/// A grid of signed distances in [-½, ½]³. It is given where it matters: at all other vertices the distance is +1
/// (outside) without deformation, and all other cubes have raw weights of zero.
#[derive(Debug)]
pub struct Field {
    pub(super) resolution: usize,
    pub(super) coords: Vec<[u16; 3]>,
    vertices: Columns,
    sdf: Vec<f32>,
    displacement: Vec<f32>,
    pub(super) channels: usize,
    attributes: Vec<f32>,
    cubes: Columns,
    weights: Vec<f32>,
}

impl Field {
    /// A field over `resolution`³ cubes.
    ///
    /// # Errors
    /// When coordinates lie outside the grid or are out of order, shapes do not fit each other, or libtorch fails.
    pub fn new(resolution: u16, vertices: &VertexValues, cubes: &CubeWeights) -> Result<Self> {
        let side = usize::from(resolution) + 1;
        let coords = points(&vertices.coords, side)?;
        let channels = width(&vertices.attributes)?;
        let displacement = vertices.deform.f_tanh()?.f_mul_scalar(0.5 / f64::from(resolution))?;
        let cube_coords = points(&cubes.coords, side)?;
        Ok(Self {
            resolution: side - 1,
            vertices: Columns::new(side, coords.iter().copied()),
            sdf: numbers(&vertices.sdf, coords.len())?,
            displacement: numbers(&displacement, 3 * coords.len())?,
            channels,
            attributes: numbers(&vertices.attributes.f_sigmoid()?, channels * coords.len())?,
            coords,
            cubes: Columns::new(side, cube_coords.iter().copied()),
            weights: numbers(&activate(&cubes.raw)?, CUBE_WEIGHTS * cube_coords.len())?,
        })
    }

    /// A grid vertex with all its values.
    pub(super) fn vertex(&self, coords: [usize; 3]) -> Vertex<'_> {
        let row = self.vertices.row(coords);
        let at = |axis: usize| {
            let displacement = row.map_or(0.0, |row| self.displacement[3 * row + axis]);
            coords[axis] as f32 / self.resolution as f32 - 0.5 + displacement
        };
        Vertex {
            position: [at(0), at(1), at(2)],
            sdf: row.map_or(1.0, |row| self.sdf[row]),
            attributes: row.map(|row| &self.attributes[row * self.channels..][..self.channels]),
        }
    }

    /// The weights of a cube.
    pub(super) fn weights(&self, coords: [usize; 3]) -> Weights<'_> {
        let row = self.cubes.row(coords);
        Weights(row.map(|row| &self.weights[row * CUBE_WEIGHTS..][..CUBE_WEIGHTS]))
    }

    /// The vertices that lie inside.
    pub(super) fn inside(&self) -> impl Iterator<Item = [usize; 3]> {
        let is_inside = |(_, sdf): &(&[u16; 3], &f32)| **sdf < 0.0;
        self.coords.iter().zip(&self.sdf).filter(is_inside).map(|(point, _)| point.map(usize::from))
    }
}

/// A grid vertex.
pub(super) struct Vertex<'a> {
    pub(super) position: [f32; 3],
    pub(super) sdf: f32,
    attributes: Option<&'a [f32]>,
}

impl Vertex<'_> {
    pub(super) fn attribute(&self, channel: usize) -> f32 {
        self.attributes.map_or(0.5, |attributes| attributes[channel])
    }
}

/// The activated weights of a cube; where it has none, the activation of zeros.
pub(super) struct Weights<'a>(Option<&'a [f32]>);

impl Weights<'_> {
    pub(super) fn beta(&self, edge: usize) -> f32 {
        self.0.map_or(1.0, |weights| weights[edge])
    }

    pub(super) fn alpha(&self, corner: usize) -> f32 {
        self.0.map_or(1.0, |weights| weights[BETA + corner])
    }

    pub(super) fn gamma(&self) -> f32 {
        self.0.map_or(0.5, |weights| weights[BETA + ALPHA])
    }
}

/// β, α = 0.99 tanh + 1; γ = 0.99 sigmoid + 0.005 (SPEC section 7).
fn activate(raw: &Tensor) -> Result<Tensor> {
    let corners = (BETA + ALPHA) as i64;
    let edge_and_corner = raw.f_narrow(1, 0, corners)?.f_tanh()?.f_mul_scalar(0.99)?.f_add_scalar(1.0)?;
    let split = raw.f_narrow(1, corners, 1)?.f_sigmoid()?.f_mul_scalar(0.99)?.f_add_scalar(0.005)?;
    Ok(Tensor::f_cat(&[edge_and_corner, split], 1)?)
}

fn points(coords: &Tensor, side: usize) -> Result<Vec<[u16; 3]>> {
    let flat = Vec::<i32>::try_from(coords.f_to_kind(Kind::Int)?.f_flatten(0, -1)?)?;
    let inside = |&value: &i32| usize::try_from(value).is_ok_and(|value| value < side);
    if !flat.iter().all(inside) {
        return Err(Error::InvalidInput(format!(
            "a voxel lies outside the grid of {} cubes a side",
            side - 1
        )));
    }
    let points: Vec<[u16; 3]> =
        flat.as_chunks().0.iter().map(|point| point.map(|value| value as u16)).collect();
    if !points.is_sorted_by(|a, b| a < b) {
        return Err(Error::InvalidInput("voxels must be distinct and in lexicographic order".to_owned()));
    }
    Ok(points)
}

fn width(values: &Tensor) -> Result<usize> {
    Ok(usize::try_from(values.size2()?.1).unwrap_or_default())
}

fn numbers(tensor: &Tensor, count: usize) -> Result<Vec<f32>> {
    let numbers = Vec::<f32>::try_from(tensor.f_to_kind(Kind::Float)?.f_flatten(0, -1)?)?;
    if numbers.len() != count {
        return Err(Error::Torch(format!("a field of {count} numbers was given {}", numbers.len())));
    }
    Ok(numbers)
}
