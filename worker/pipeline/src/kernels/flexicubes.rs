//! The steps of FlexiCubes on a grid of `cells`³ cubes. Cubes and vertices are numbered lexicographically, z fastest; a
//! tensor "of all cubes" has `cells`³ entries, one "of all vertices" (`cells` + 1)³.

use std::ffi::{c_float, c_int, c_void};

use tch::{Device, Kind, Tensor};

use super::{Kernels, stream, values, values_mut};
use crate::{Error, Result};

/// What the cubes' rows of numbers hold: eight distances (from column 0), deformations and attributes of the corners.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// The first column of the deformations.
    pub(crate) deform: i64,
    /// The first column of the cubes' weights.
    pub(crate) weights: i64,
    /// The first column of the attributes.
    pub(crate) attribute: i64,
    /// Attributes of a corner: 6 at most.
    pub(crate) attributes: i64,
}

/// A grid on one GPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    kernels: Kernels,
    device: Device,
    cells: i64,
}

/// The signs at the corners of all cubes.
#[derive(Debug)]
pub(crate) struct Cases {
    /// A bit set of inside corners, of all cubes.
    cases: Tensor,
    /// The numbers of cubes with corners on both sides, ascending.
    pub(crate) crossed: Tensor,
    /// The numbers of the vertices of such cubes, ascending.
    pub(crate) near: Tensor,
}

/// What the dual vertices are placed by; `Surface` in flexicubes.cu.
#[repr(C)]
struct Surface {
    crossed: *const i64,
    cases: *const u8,
    first: *const i64,
    table: *const c_int,
    sdf: *const c_float,
    values: *const c_float,
    vertex_row: *const c_int,
    weights: *const c_float,
    cube_row: *const c_int,
    weight_stride: i64,
    cells: c_int,
    attributes: c_int,
}

/// The tensors that faces and dual vertices are made from.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// As of [`Cases`].
    pub(crate) cases: &'a Cases,
    /// The settled case of each crossed cube.
    pub(crate) settled: Tensor,
    /// The number of each crossed cube's first dual vertex, in i64.
    pub(crate) first: Tensor,
    /// Where the crossed cubes are in their list, of all cubes.
    pub(crate) crossed_row: Tensor,
    /// The table of cases.
    pub(crate) table: &'a Tensor,
    /// Distances of all vertices.
    pub(crate) sdf: &'a Tensor,
    /// Position and attributes, `[V, 3 + A]`.
    pub(crate) values: &'a Tensor,
    /// Where all vertices are in `values`; -1 where they are not.
    pub(crate) vertex_row: &'a Tensor,
    /// Raw weights `[M, 21]`, a part of longer rows.
    pub(crate) weights: &'a Tensor,
    /// Where all cubes are in `weights`; -1 where they are not.
    pub(crate) cube_row: &'a Tensor,
}

impl Parts<'_> {
    fn surface(&self, cells: i64) -> Surface {
        Surface {
            crossed: values(&self.cases.crossed),
            cases: values(&self.settled),
            first: values(&self.first),
            table: values(self.table),
            sdf: values(self.sdf),
            values: values(self.values),
            vertex_row: values(self.vertex_row),
            weights: values(self.weights),
            cube_row: values(self.cube_row),
            weight_stride: row_stride(self.weights),
            cells: cells as c_int,
            attributes: self.attributes() as c_int,
        }
    }

    /// Attributes of a vertex.
    pub(crate) fn attributes(&self) -> i64 {
        self.values.size().get(1).map_or(0, |width| width - 3)
    }
}

// SAFETY of the calls below: the types are those in flexicubes.cu; tensors are allocated here or by callers as large as the
// kernels need, and live until their memory is used again on this stream.
impl Steps {
    /// The steps on a grid, where it is not too fine to have a number for each cell, and kernels are there.
    pub(crate) fn on(device: Device, cells: i64) -> Option<Self> {
        (cells <= 512).then_some(())?;
        Some(Self { kernels: Kernels::on(device)?, device, cells })
    }

    fn cubes(self) -> i64 {
        self.cells.pow(3)
    }

    fn vertices(self) -> i64 {
        (self.cells + 1).pow(3)
    }

    fn empty(self, shape: &[i64], kind: Kind) -> Result<Tensor> {
        Ok(Tensor::f_empty(shape, (kind, self.device))?)
    }

    /// The rows of cubes at `coords` `[N, 3]`, of all cubes; -1 where there is none.
    pub(crate) fn rows_of_cubes(self, coords: &Tensor) -> Result<Tensor> {
        self.rows(coords, self.cells)
    }

    /// The rows of vertices at `coords` `[N, 3]`, of all vertices; -1 where there is none.
    pub(crate) fn rows_of_vertices(self, coords: &Tensor) -> Result<Tensor> {
        self.rows(coords, self.cells + 1)
    }

    fn rows(self, coords: &Tensor, side: i64) -> Result<Tensor> {
        type Run = extern "C" fn(*const c_int, i64, i64, c_int, *mut c_int, *mut c_int, *mut c_void) -> c_int;
        let coords = coords.f_to_kind(Kind::Int)?;
        let row_of = Tensor::f_full([side.pow(3)], -1, (Kind::Int, self.device))?;
        let outside = Tensor::f_zeros([1], (Kind::Int, self.device))?;
        self.kernels.check(unsafe {
            self.kernels.function::<Run>("trellis_place_rows")?(
                values(&coords),
                row_stride(&coords),
                coords.size2()?.0,
                side as c_int,
                values_mut(&row_of),
                values_mut(&outside),
                stream(),
            )
        })?;
        if outside.f_int64_value(&[0])? != 0 {
            return Err(Error::InvalidInput(format!(
                "a voxel lies outside the grid of {} cubes a side",
                self.cells
            )));
        }
        Ok(row_of)
    }

    /// Distances of all vertices: the mean of what the cubes say, less `bias`; +1 where there is no cube.
    pub(crate) fn distances(self, feats: &Tensor, cube_row: &Tensor, bias: f32) -> Result<Tensor> {
        type Run = extern "C" fn(
            *const c_float,
            i64,
            *const c_int,
            c_int,
            c_float,
            *mut c_float,
            *mut c_void,
        ) -> c_int;
        let sdf = self.empty(&[self.vertices()], Kind::Float)?;
        self.kernels.check(unsafe {
            self.kernels.function::<Run>("trellis_mean_distances")?(
                values(feats),
                row_stride(feats),
                values(cube_row),
                self.cells as c_int,
                bias,
                values_mut(&sdf),
                stream(),
            )
        })?;
        Ok(sdf)
    }

    /// Which cubes the surface passes through.
    pub(crate) fn cases(self, sdf: &Tensor) -> Result<Cases> {
        type Run = extern "C" fn(*const c_float, c_int, *mut u8, *mut bool, *mut bool, *mut c_void) -> c_int;
        let cases = self.empty(&[self.cubes()], Kind::Uint8)?;
        let is_crossed = self.empty(&[self.cubes()], Kind::Bool)?;
        let is_near = self.empty(&[self.vertices()], Kind::Bool)?;
        self.kernels.check(unsafe {
            self.kernels.function::<Run>("trellis_find_cases")?(
                values(sdf),
                self.cells as c_int,
                values_mut(&cases),
                values_mut(&is_crossed),
                values_mut(&is_near),
                stream(),
            )
        })?;
        let places = |flags: Tensor| flags.f_nonzero()?.f_flatten(0, -1);
        Ok(Cases { cases, crossed: places(is_crossed)?, near: places(is_near)? })
    }

    /// The settled case of each crossed cube, its number of dual vertices, and where it is in the list, of all cubes.
    pub(crate) fn settle(self, cases: &Cases, table: &Tensor) -> Result<[Tensor; 3]> {
        type Run = extern "C" fn(
            *const i64,
            i64,
            *const u8,
            *const c_int,
            c_int,
            *mut u8,
            *mut c_int,
            *mut c_int,
            *mut c_void,
        ) -> c_int;
        let count = cases.crossed.size1()?;
        let settled = self.empty(&[count], Kind::Uint8)?;
        let vertices = self.empty(&[count], Kind::Int)?;
        let crossed_row = self.empty(&[self.cubes()], Kind::Int)?;
        self.kernels.check(unsafe {
            self.kernels.function::<Run>("trellis_settle_cases")?(
                values(&cases.crossed),
                count,
                values(&cases.cases),
                values(table),
                self.cells as c_int,
                values_mut(&settled),
                values_mut(&vertices),
                values_mut(&crossed_row),
                stream(),
            )
        })?;
        Ok([settled, vertices, crossed_row])
    }

    /// Position and attributes of the near vertices, `[V, 3 + A]`, and where they are, of all vertices.
    pub(crate) fn near_values(
        self,
        cases: &Cases,
        feats: &Tensor,
        cube_row: &Tensor,
        columns: Columns,
    ) -> Result<(Tensor, Tensor)> {
        type Run = extern "C" fn(
            *const i64,
            i64,
            *const c_float,
            i64,
            *const c_int,
            c_int,
            c_int,
            c_int,
            c_int,
            *mut c_float,
            *mut c_int,
            *mut c_void,
        ) -> c_int;
        let count = cases.near.size1()?;
        let found = self.empty(&[count, 3 + columns.attributes], Kind::Float)?;
        let vertex_row = Tensor::f_full([self.vertices()], -1, (Kind::Int, self.device))?;
        self.kernels.check(unsafe {
            self.kernels.function::<Run>("trellis_place_vertices")?(
                values(&cases.near),
                count,
                values(feats),
                row_stride(feats),
                values(cube_row),
                self.cells as c_int,
                columns.deform as c_int,
                columns.attribute as c_int,
                columns.attributes as c_int,
                values_mut(&found),
                values_mut(&vertex_row),
                stream(),
            )
        })?;
        Ok((found, vertex_row))
    }

    /// Writes the dual vertices' positions and attributes.
    pub(crate) fn place_dual(self, parts: &Parts, positions: &Tensor, attributes: &Tensor) -> Result<()> {
        type Run = extern "C" fn(*const Surface, i64, *mut c_float, *mut c_float, *mut c_void) -> c_int;
        let surface = parts.surface(self.cells);
        self.kernels.check(unsafe {
            self.kernels.function::<Run>("trellis_place_dual")?(
                &raw const surface,
                parts.cases.crossed.size1()?,
                values_mut(positions),
                values_mut(attributes),
                stream(),
            )
        })
    }

    /// For each near vertex the three edges that start there, `[V · 3]`: 0 where the surface does not cross one that has
    /// four cubes, 1 where it starts outside, 2 where inside.
    pub(crate) fn edges(self, cases: &Cases, sdf: &Tensor) -> Result<Tensor> {
        type Run = extern "C" fn(*const i64, i64, *const c_float, c_int, *mut u8, *mut c_void) -> c_int;
        let count = cases.near.size1()?;
        let edges = self.empty(&[3 * count], Kind::Uint8)?;
        self.kernels.check(unsafe {
            self.kernels.function::<Run>("trellis_find_edges")?(
                values(&cases.near),
                count,
                values(sdf),
                self.cells as c_int,
                values_mut(&edges),
                stream(),
            )
        })?;
        Ok(edges)
    }

    /// Writes two faces around each of `edges` `[E]`, of which the first `outside` start outside.
    pub(crate) fn connect(
        self,
        parts: &Parts,
        edges: &Tensor,
        outside: i64,
        directions: &Tensor,
        faces: &Tensor,
    ) -> Result<()> {
        type Run = extern "C" fn(
            *const Surface,
            *const i64,
            *const i64,
            i64,
            i64,
            *const c_int,
            *const c_int,
            *mut c_int,
            *mut c_void,
        ) -> c_int;
        let surface = parts.surface(self.cells);
        self.kernels.check(unsafe {
            self.kernels.function::<Run>("trellis_connect")?(
                &raw const surface,
                values(&parts.cases.near),
                values(edges),
                outside,
                edges.size1()?,
                values(directions),
                values(&parts.crossed_row),
                values_mut(faces),
                stream(),
            )
        })
    }
}

/// Numbers from one row of a matrix to the next.
fn row_stride(matrix: &Tensor) -> i64 {
    matrix.stride().first().copied().unwrap_or_default()
}
