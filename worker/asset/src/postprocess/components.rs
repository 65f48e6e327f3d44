//! The pieces of a mesh that hang together.

use super::clean::{first_alike, twice_area, with_faces};
use crate::joined::{numbered, representatives};
use crate::{Mesh, Paint};

/// Floaters are smaller than this share of the whole's extent, whatever their surface: a thin wire may have little.
const FLOATER_EXTENT: f32 = 0.05;

/// Removes the pieces whose surface is below `share` of the largest piece's, and which span less than a twentieth of what the whole spans. The
/// largest stays in any case. The result is their number.
pub fn without_floaters(mesh: &mut Mesh, share: f32) -> usize {
    let components = Components::of(mesh);
    let sizes = components.sizes(mesh);
    let largest = sizes.iter().map(|size| size.area).fold(0.0, f64::max);
    let whole = sizes.iter().fold(Size::default(), |whole, size| whole.and(size)).extent() * FLOATER_EXTENT;
    let keep: Vec<bool> = sizes
        .iter()
        .map(|size| size.area >= largest * f64::from(share).min(1.0) || size.extent() >= whole)
        .collect();
    components.retain(mesh, &keep)
}

/// Which piece each face belongs to.
pub(super) struct Components {
    /// Of each face its piece; pieces are numbered in the order of their first faces.
    pub(super) of_face: Vec<u32>,
    /// How many there are.
    pub(super) count: usize,
}

impl Components {
    /// Faces that share a vertex are in one piece.
    pub(super) fn of(mesh: &Mesh) -> Self {
        let places = places(mesh);
        let place = |vertex: u32| places.as_ref().map_or(vertex, |places| places[vertex as usize]);
        let faces = mesh.faces.iter().map(|face| face.map(place));
        let roots = representatives(mesh.vertices.len(), faces.clone());
        let (of_face, count) = numbered(roots.len(), faces.map(|[vertex, ..]| roots[vertex as usize]));
        Self { of_face, count }
    }

    fn sizes(&self, mesh: &Mesh) -> Vec<Size> {
        let mut sizes = vec![Size::default(); self.count];
        for (face, &component) in mesh.faces.iter().zip(&self.of_face) {
            let corners = face.map(|vertex| mesh.vertices[vertex as usize]);
            let size = &mut sizes[component as usize];
            size.area += twice_area(corners);
            for corner in corners {
                size.min = std::array::from_fn(|axis| size.min[axis].min(corner[axis]));
                size.max = std::array::from_fn(|axis| size.max[axis].max(corner[axis]));
            }
        }
        sizes
    }

    /// Removes the pieces that are not to be kept; the result is their number.
    pub(super) fn retain(&self, mesh: &mut Mesh, keep: &[bool]) -> usize {
        let removed = keep.iter().filter(|keep| !**keep).count();
        if removed > 0 {
            let kept =
                mesh.faces.iter().zip(&self.of_face).filter(|(_, component)| keep[**component as usize]);
            *mesh = with_faces(mesh, kept.map(|(face, _)| *face).collect());
        }
        removed
    }
}

/// Of each vertex one number for its place, where seams of a texture have several vertices at one place.
fn places(mesh: &Mesh) -> Option<Vec<u32>> {
    matches!(mesh.paint, Paint::Texture { .. }).then(|| first_alike(&mesh.vertices, |_| [0; 2]))
}

/// How large a piece is.
#[derive(Clone)]
struct Size {
    /// Twice the area.
    area: f64,
    min: [f32; 3],
    max: [f32; 3],
}

impl Default for Size {
    fn default() -> Self {
        Self { area: 0.0, min: [f32::INFINITY; 3], max: [f32::NEG_INFINITY; 3] }
    }
}

impl Size {
    fn and(&self, other: &Self) -> Self {
        Self {
            area: self.area + other.area,
            min: std::array::from_fn(|axis| self.min[axis].min(other.min[axis])),
            max: std::array::from_fn(|axis| self.max[axis].max(other.max[axis])),
        }
    }

    /// The longest side of the box around it.
    fn extent(&self) -> f32 {
        (0..3).map(|axis| self.max[axis] - self.min[axis]).fold(0.0, f32::max)
    }
}
