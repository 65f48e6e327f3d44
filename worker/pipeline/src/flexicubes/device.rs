//! The extraction on a GPU. Where the surface passes is found on whole grids of signs and row numbers, one number for each
//! cell; values are read and computed near the surface alone. Prefix sums give each vertex and face its place, so that the
//! order is that of the extraction on the CPU.

use tch::{Device, Kind, Tensor};

use super::{CubeWeights, Surface, VertexValues, cases, quads};
use crate::kernels::HostCopy;
use crate::kernels::flexicubes::{Cases, Columns, Parts, Steps};
use crate::sparse::keys;
use crate::{Error, Result};

/// Of a vertex: what a thread keeps.
const MAX_ATTRIBUTES: i64 = 6;

/// What [`extract`] reads, on one GPU.
struct Source {
    steps: Steps,
    device: Device,
    /// Distances of all vertices.
    sdf: Tensor,
    /// Where all cubes are in `weights`.
    cube_row: Tensor,
    /// `[M, 21]`.
    weights: Tensor,
}

/// The surface of cubes at `coords` `[N, 3]` of which the rows of `feats` say all, the distances less `bias`. `None`: do it
/// otherwise.
pub(crate) fn surface_of_cubes(
    resolution: u16,
    coords: &Tensor,
    feats: &Tensor,
    columns: Columns,
    bias: f32,
) -> Result<Option<Surface>> {
    let device = feats.device();
    let Some(steps) = Steps::on(device, resolution.into()) else { return Ok(None) };
    let cube_row = steps.rows_of_cubes(coords)?;
    let sdf = steps.distances(feats, &cube_row, bias)?;
    let weights = feats.f_narrow(1, columns.weights, 21)?;
    let source = Source { steps, device, sdf, cube_row, weights };
    let near = |cases: &Cases| steps.near_values(cases, feats, &source.cube_row, columns);
    extract(&source, near).map(Some)
}

/// As [`super::surface`]. `None`: do it otherwise.
pub(super) fn surface(
    resolution: u16,
    inside: &Tensor,
    vertices: &VertexValues,
    cubes: &CubeWeights,
) -> Result<Option<Surface>> {
    let device = vertices.sdf.device();
    if vertices.attributes.size2()?.1 > MAX_ATTRIBUTES {
        return Ok(None);
    }
    let Some(steps) = Steps::on(device, resolution.into()) else { return Ok(None) };
    require_order(&vertices.coords)?;
    require_order(&cubes.coords)?;
    let cube_row = steps.rows_of_cubes(&cubes.coords)?;
    let vertex_row = steps.rows_of_vertices(&vertices.coords)?;
    // Rows start at 0; a vertex inside that has no values is far from the surface.
    let is_inside = steps.rows_of_vertices(inside)?.f_ge(0)?;
    let sdf =
        Tensor::f_ones([vertex_row.size1()?], (Kind::Float, device))?.f_masked_fill(&is_inside, -1.0)?;
    let places = vertex_row.f_ge(0)?.f_nonzero()?.f_flatten(0, -1)?;
    let sdf = sdf.f_index_copy(0, &places, &vertices.sdf.f_to_kind(Kind::Float)?)?;
    let source =
        Source { steps, device, sdf, cube_row, weights: cubes.raw.f_to_kind(Kind::Float)?.f_contiguous()? };
    let values = vertices.activated(resolution)?;
    extract(&source, |_| Ok((values, vertex_row))).map(Some)
}

/// `near` gives position and attributes of vertices near the surface, and where all vertices are among them.
fn extract(source: &Source, near: impl FnOnce(&Cases) -> Result<(Tensor, Tensor)>) -> Result<Surface> {
    let Source { steps, device, sdf, cube_row, weights } = source;
    let cases = steps.cases(sdf)?;
    let crossed = cases.crossed.size1()?;
    if crossed == 0 {
        return Ok(Surface { vertices: vec![], faces: vec![], attributes: vec![] });
    }
    let upload = |numbers: &[i32]| Tensor::f_from_slice(numbers)?.f_to_device(*device);
    let (table, directions) = (upload(&cases::table())?, upload(&quads::directions())?);
    let [settled, counts, crossed_row] = steps.settle(&cases, &table)?;
    let (first, vertices) = number(&counts)?;
    let (values, vertex_row) = near(&cases)?;
    let (values, vertex_row, table) = (&values, &vertex_row, &table);
    let parts = Parts {
        cases: &cases,
        settled,
        first,
        crossed_row,
        table,
        sdf,
        values,
        vertex_row,
        weights,
        cube_row,
    };

    let edges = steps.edges(&cases, sdf)?;
    let starting = |side: i64| edges.f_eq(side)?.f_nonzero()?.f_flatten(0, -1);
    let (outside, inside) = (starting(1)?, starting(2)?);
    let edges = Tensor::f_cat(&[&outside, &inside], 0)?;

    let sizes = [3 * vertices, parts.attributes() * vertices, 6 * edges.size1()?];
    let all = Tensor::f_empty([sizes.iter().sum()], (Kind::Float, *device))?;
    let [positions, attributes, faces] = &all.f_split_with_sizes(sizes, 0)?[..] else {
        return Err(Error::Torch("a tensor was not split into three parts".to_owned()));
    };
    steps.place_dual(&parts, positions, attributes)?;
    steps.connect(&parts, &edges, outside.size1()?, &directions, faces)?;
    download(&all, sizes)
}

/// The number of the first dual vertex of each cube, by how many each has, and the number of all: those of cubes with one
/// come first, then those of cubes with two, and so on.
fn number(counts: &Tensor) -> Result<(Tensor, i64)> {
    let most = Tensor::f_arange_start(1, 5, (Kind::Int64, counts.device()))?.f_unsqueeze(1)?;
    let taken = most.f_mul(&counts.f_unsqueeze(0)?.f_eq_tensor(&most)?)?;
    let sums = taken.f_flatten(0, 1)?.f_cumsum(0, None)?.f_view_as(&taken)?;
    let first = sums.f_sub(&taken)?.f_mul(&taken.f_gt(0)?)?.f_sum_dim_intlist(&[0i64][..], false, None)?;
    Ok((first, sums.f_max()?.f_int64_value(&[])?))
}

/// Positions and attributes as numbers, faces as bits of numbers.
fn download(all: &Tensor, sizes: [i64; 3]) -> Result<Surface> {
    let copy = HostCopy::of(all)?;
    let (positions, rest) = copy.as_slice().split_at(sizes[0] as usize);
    let (attributes, faces) = rest.split_at(sizes[1] as usize);
    let faces: &[[u32; 3]] = bytemuck::cast_slice(faces);
    let vertices: &[[f32; 3]] = bytemuck::cast_slice(positions);
    // Most of the time goes into the first touch of the new memory.
    let (vertices, (attributes, faces)) =
        rayon::join(|| vertices.to_vec(), || rayon::join(|| attributes.to_vec(), || faces.to_vec()));
    Ok(Surface { vertices, faces, attributes })
}

fn require_order(coords: &Tensor) -> Result<()> {
    let keys = keys(coords)?;
    let pairs = (keys.size1()? - 1).max(0);
    let ascends =
        keys.f_narrow(0, keys.size1()? - pairs, pairs)?.f_gt_tensor(&keys.f_narrow(0, 0, pairs)?)?;
    if ascends.f_all()?.f_int64_value(&[])? == 0 {
        return Err(Error::InvalidInput("voxels must be distinct and in lexicographic order".to_owned()));
    }
    Ok(())
}
