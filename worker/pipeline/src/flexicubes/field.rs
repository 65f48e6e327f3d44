//! What the surface is extracted from.

use tch::{Kind, Tensor};

use super::columns::Columns;
use super::signs::Signs;
use crate::{Error, Result};

/// Numbers for each cube: 12 for its edges (β), 8 for its corners (α), one for the splitting of quads (γ).
const CUBE_WEIGHTS: usize = BETA + ALPHA + 1;
/// Distance and displacement of a vertex.
const FIXED: usize = 4;
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

impl VertexValues {
    /// The values of some rows.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn at(&self, rows: &Tensor) -> Result<Self> {
        let pick = |values: &Tensor| values.f_index_select(0, rows);
        let Self { coords, sdf, deform, attributes } = self;
        Ok(Self {
            coords: pick(coords)?,
            sdf: pick(sdf)?,
            deform: pick(deform)?,
            attributes: pick(attributes)?,
        })
    }

    /// Position and attributes in a grid of `resolution`³ cubes in [-½, ½]³: `[V, 3 + A]`.
    pub(super) fn activated(&self, resolution: u16) -> Result<Tensor> {
        let corners =
            self.coords.f_to_kind(Kind::Float)?.f_div_scalar(f64::from(resolution))?.f_sub_scalar(0.5)?;
        let positions = corners.f_add(&displacement(&self.deform, resolution)?)?;
        Ok(Tensor::f_cat(&[positions, self.attributes.f_sigmoid()?], 1)?)
    }
}

/// How far raw deformations move vertices: half a cell at most.
fn displacement(deform: &Tensor, resolution: u16) -> Result<Tensor> {
    Ok(deform.f_tanh()?.f_mul_scalar(0.5 / f64::from(resolution))?)
}

/// Raw weights of cubes.
#[derive(Debug)]
pub struct CubeWeights {
    /// `[M, 3]` in lexicographic order, distinct: the lowest corner of each cube.
    pub coords: Tensor,
    /// `[M, 21]`: β 12, α 8, γ 1.
    pub raw: Tensor,
}

/// A grid of signed distances in [-½, ½]³. Values are given where they matter: at other vertices the distance is +1
/// (outside) without deformation, and other cubes have raw weights of zero.
#[derive(Debug)]
pub struct Field {
    pub(super) resolution: usize,
    pub(super) signs: Signs,
    vertices: Columns,
    pub(super) channels: usize,
    /// Distance, displacement and attributes, vertex by vertex.
    values: Vec<f32>,
    cubes: Columns,
    weights: Vec<f32>,
}

impl Field {
    /// A field over `resolution`³ cubes. `inside` `[K, 3]` are all vertices with a negative distance, in any order;
    /// `vertices` and `cubes` matter where a cube has corners on both sides.
    ///
    /// # Errors
    /// When coordinates lie outside the grid or are out of order, shapes do not fit each other, or libtorch fails.
    pub fn new(
        resolution: u16,
        inside: &Tensor,
        vertices: &VertexValues,
        cubes: &CubeWeights,
    ) -> Result<Self> {
        let side = usize::from(resolution) + 1;
        check_range(inside, side)?;
        let coords = points(&vertices.coords, side)?;
        let channels = usize::try_from(vertices.attributes.size2()?.1).unwrap_or_default();
        let displacement = displacement(&vertices.deform, resolution)?;
        let values = [vertices.sdf.f_unsqueeze(1)?, displacement, vertices.attributes.f_sigmoid()?];
        let cube_coords = points(&cubes.coords, side)?;
        Ok(Self {
            resolution: side - 1,
            signs: Signs::new(inside, side)?,
            vertices: Columns::new(side, coords.iter().copied()),
            channels,
            values: numbers(&Tensor::f_cat(&values, 1)?, (FIXED + channels) * coords.len())?,
            cubes: Columns::new(side, cube_coords.iter().copied()),
            weights: numbers(&activate(&cubes.raw)?, CUBE_WEIGHTS * cube_coords.len())?,
        })
    }

    /// A grid vertex with all its values.
    pub(super) fn vertex(&self, coords: [usize; 3]) -> Vertex<'_> {
        let width = FIXED + self.channels;
        let values = self.vertices.row(coords).map(|row| &self.values[row * width..][..width]);
        let (fixed, attributes) = values.map(|values| values.split_at(FIXED)).unzip();
        let [sdf, displacement @ ..] =
            fixed.and_then(<[f32]>::first_chunk).copied().unwrap_or([1.0, 0.0, 0.0, 0.0]);
        let at = |axis: usize| coords[axis] as f32 / self.resolution as f32 - 0.5 + displacement[axis];
        Vertex { position: [at(0), at(1), at(2)], sdf, attributes }
    }

    /// The weights of a cube.
    pub(super) fn weights(&self, coords: [usize; 3]) -> Weights<'_> {
        let row = self.cubes.row(coords);
        Weights(row.map(|row| &self.weights[row * CUBE_WEIGHTS..][..CUBE_WEIGHTS]))
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

fn check_range(coords: &Tensor, side: usize) -> Result<()> {
    if coords.numel() == 0 {
        return Ok(());
    }
    let (low, high) = coords.f_aminmax(None, false)?;
    if low.f_int64_value(&[])? < 0 || high.f_int64_value(&[])? >= side as i64 {
        return Err(Error::InvalidInput(format!(
            "a voxel lies outside the grid of {} cubes a side",
            side - 1
        )));
    }
    Ok(())
}

fn points(coords: &Tensor, side: usize) -> Result<Vec<[u16; 3]>> {
    check_range(coords, side)?;
    let flat = Vec::<i16>::try_from(coords.f_to_kind(Kind::Int16)?.f_flatten(0, -1)?)?;
    let points: Vec<[u16; 3]> =
        flat.as_chunks().0.iter().map(|point| point.map(i16::cast_unsigned)).collect();
    if !points.is_sorted_by(|a, b| a < b) {
        return Err(Error::InvalidInput("voxels must be distinct and in lexicographic order".to_owned()));
    }
    Ok(points)
}

fn numbers(tensor: &Tensor, count: usize) -> Result<Vec<f32>> {
    let numbers = Vec::<f32>::try_from(tensor.f_to_kind(Kind::Float)?.f_flatten(0, -1)?)?;
    if numbers.len() != count {
        return Err(Error::Torch(format!("a field of {count} numbers was given {}", numbers.len())));
    }
    Ok(numbers)
}
