//! FlexiCubes (Shen et al., "Flexible Isosurface Extraction for Gradient-Based Mesh Optimization", 2023): a surface from
//! a grid of signed distances, with vertices that weights predicted by the model can move within their cubes.
//! SPEC section 7 fixes the order of vertices and faces.

mod cases;
mod columns;
mod crossed;
mod dual;
mod field;
mod quads;
mod signs;

pub use field::{CubeWeights, Field, VertexValues};

use crossed::CrossedCubes;
use dual::DualVertices;

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

/// Extracts the surface where the distance changes its sign. The same field gives the same bytes on any number of threads.
pub fn extract(field: &Field) -> Surface {
    let crossed = CrossedCubes::find(field);
    let dual = DualVertices::place(field, &crossed);
    let faces = quads::connect(field, &crossed, &dual);
    Surface { vertices: dual.positions, faces, attributes: dual.attributes }
}
