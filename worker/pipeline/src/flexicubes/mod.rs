//! FlexiCubes (Shen et al., "Flexible Isosurface Extraction for Gradient-Based Mesh Optimization", 2023): a surface from
//! a grid of signed distances, with vertices that weights predicted by the model can move within their cubes.
//! SPEC section 7 fixes the order of vertices and faces.

mod cases;
mod columns;
mod crossed;
mod device;
mod dual;
mod field;
mod quads;
mod signs;

pub(crate) use device::surface_of_cubes;
pub use field::{CubeWeights, Field, VertexValues};

use tch::Tensor;
use trellis_asset::{Mesh, Paint};

use crossed::CrossedCubes;
use dual::DualVertices;

use crate::Result;

/// A triangle mesh with attributes at its vertices. Without a crossing it is empty.
#[derive(Debug)]
pub struct Surface {
    /// Positions, within or near [-½, ½]³.
    pub vertices: Vec<[f32; 3]>,
    /// Vertices of each triangle, counter-clockwise seen from outside.
    pub faces: Vec<[u32; 3]>,
    /// Attributes in 0..1, vertex by vertex.
    pub attributes: Vec<f32>,
}

impl Surface {
    /// The mesh. The first three attributes are its colour; without them it has none.
    pub fn into_mesh(self) -> Mesh {
        let Self { vertices, faces, attributes } = self;
        let width = attributes.len().checked_div(vertices.len()).unwrap_or_default();
        let color = |row: &[f32]| row.first_chunk::<3>().copied();
        let colors: Option<Vec<_>> = attributes.chunks(width.max(1)).map(color).collect();
        let paint = colors.filter(|colors| !colors.is_empty()).map_or(Paint::None, Paint::Vertices);
        Mesh::new(vertices, faces, paint)
    }
}

/// The surface of a field, extracted where its tensors are: on a GPU by our kernels, if they are there, otherwise on the CPU.
/// The arguments are those of [`Field::new`].
///
/// # Errors
/// As [`Field::new`].
pub fn surface(
    resolution: u16,
    inside: &Tensor,
    vertices: &VertexValues,
    cubes: &CubeWeights,
) -> Result<Surface> {
    match device::surface(resolution, inside, vertices, cubes)? {
        Some(surface) => Ok(surface),
        None => Ok(extract(&Field::new(resolution, inside, vertices, cubes)?)),
    }
}

/// Extracts the surface where the distance changes its sign. The same field gives the same bytes on any number of threads.
pub fn extract(field: &Field) -> Surface {
    let crossed = CrossedCubes::find(field);
    let dual = DualVertices::place(field, &crossed);
    let faces = quads::connect(field, &crossed, &dual);
    Surface { vertices: dual.positions, faces, attributes: dual.attributes }
}
