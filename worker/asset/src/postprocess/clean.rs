//! Faces that are none, vertices that are in no face, and vertices that are the same.

use rayon::prelude::*;

use crate::mesh::{cross, minus};
use crate::{Error, Mesh, Paint, Result};

/// Coordinates beyond this are taken for damage: their products would leave the range of f32.
const FARTHEST: f32 = 1e6;

/// The mesh without faces that have no area or a vertex that is not at a place, without vertices that no face uses, and with vertices merged that
/// are at one place (and, if there is a texture, at one place of the texture). Vertices keep their order.
///
/// # Errors
/// When the lists of the mesh do not fit together, or no face is left.
pub fn clean(mesh: &Mesh) -> Result<Mesh> {
    check(mesh)?;
    let first = first_alike(&mesh.vertices, |vertex| match &mesh.paint {
        Paint::Texture { coordinates, .. } => coordinates[vertex].map(f32::to_bits),
        _ => [0; 2],
    });
    let usable = |face: &[u32; 3]| {
        let face = face.map(|vertex| first[vertex as usize]);
        has_area(face.map(|vertex| mesh.vertices[vertex as usize])).then_some(face)
    };
    let faces: Vec<_> = mesh.faces.par_iter().filter_map(usable).collect();
    if faces.is_empty() {
        return Err(Error::Empty("no face of the mesh has an area"));
    }
    Ok(with_faces(mesh, faces))
}

/// Whether the lists of a mesh fit together.
pub(crate) fn check(mesh: &Mesh) -> Result<()> {
    let vertices = mesh.vertices.len();
    let damaged = |what: String| Err(Error::Damaged(what));
    let paint = match &mesh.paint {
        Paint::None => vertices,
        Paint::Vertices(colors) => colors.len(),
        Paint::Texture { coordinates, .. } => coordinates.len(),
    };
    if mesh.normals.len() != vertices || paint != vertices {
        return damaged(format!(
            "{vertices} vertices with {} normals and {paint} colours",
            mesh.normals.len()
        ));
    }
    // Edges are sorted as pairs of vertices that share 64 bits with their direction.
    if vertices > 1 << 31 {
        return damaged(format!("{vertices} vertices are more than a mesh can have"));
    }
    match mesh.faces.as_flattened().par_iter().max() {
        Some(&last) if last as usize >= vertices => {
            damaged(format!("a face names vertex {last} of {vertices}"))
        }
        _ => Ok(()),
    }
}

/// Of each vertex the first with the same position and the same `other`.
pub(crate) fn first_alike(vertices: &[[f32; 3]], other: impl Fn(usize) -> [u32; 2] + Sync) -> Vec<u32> {
    // + 0 makes one zero of the two.
    let key = |vertex: usize| (vertices[vertex].map(|x| (x + 0.0).to_bits()), other(vertex), vertex as u32);
    let mut keys: Vec<_> = (0..vertices.len()).into_par_iter().map(key).collect();
    keys.par_sort_unstable();
    let mut first = vec![0; vertices.len()];
    for alike in keys.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        for &(.., vertex) in alike {
            first[vertex as usize] = alike[0].2;
        }
    }
    first
}

fn has_area(corners: [[f32; 3]; 3]) -> bool {
    let near = |x: &f32| x.abs() <= FARTHEST;
    corners.as_flattened().iter().all(near) && twice_area(corners) > 0.0
}

/// Twice the area of a triangle, exact enough for the smallest.
pub(crate) fn twice_area([a, b, c]: [[f32; 3]; 3]) -> f64 {
    cross(minus(b, a), minus(c, a)).iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// The mesh with other faces, and only the vertices that they use.
pub(crate) fn with_faces(mesh: &Mesh, mut faces: Vec<[u32; 3]>) -> Mesh {
    let mut place = vec![0u32; mesh.vertices.len()];
    for &vertex in faces.as_flattened() {
        place[vertex as usize] = 1;
    }
    let mut used = Vec::with_capacity(mesh.vertices.len());
    for (vertex, place) in place.iter_mut().enumerate().filter(|(_, place)| **place == 1) {
        *place = used.len() as u32;
        used.push(vertex);
    }
    faces.par_iter_mut().for_each(|face| *face = face.map(|vertex| place[vertex as usize]));
    let paint = match &mesh.paint {
        Paint::None => Paint::None,
        Paint::Vertices(colors) => Paint::Vertices(picked(colors, &used)),
        Paint::Texture { coordinates, picture } => {
            Paint::Texture { coordinates: picked(coordinates, &used), picture: picture.clone() }
        }
    };
    Mesh { vertices: picked(&mesh.vertices, &used), normals: picked(&mesh.normals, &used), faces, paint }
}

fn picked<T: Copy + Send + Sync>(values: &[T], which: &[usize]) -> Vec<T> {
    which.par_iter().map(|&index| values[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(vertices: Vec<[f32; 3]>, faces: Vec<[u32; 3]>) -> Mesh {
        let colors = (0..vertices.len()).map(|i| [i as f32, 0.0, 0.0]).collect();
        Mesh {
            normals: vec![[0.0, 0.0, 1.0]; vertices.len()],
            vertices,
            faces,
            paint: Paint::Vertices(colors),
        }
    }

    #[test]
    fn what_is_not_a_face_goes_and_the_rest_keeps_its_order_and_colours() {
        let vertices = vec![
            [9.0; 3],
            [0.0, 0.0, 0.0],
            [1.0, 0.0, 0.0],
            [1.0, 1.0, 0.0],
            [-0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [f32::NAN, 0.0, 0.0],
            [0.5, 0.5, 0.0],
            [1e30, 0.0, 0.0],
        ];
        let faces = vec![[1, 2, 3], [4, 3, 5], [1, 4, 2], [1, 7, 3], [1, 2, 6], [2, 3, 8], [5, 5, 1]];
        let mesh = clean(&square(vertices, faces)).unwrap();
        assert_eq!(mesh.faces, [[0, 1, 2], [0, 2, 3]]);
        assert_eq!(mesh.vertices, [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]);
        let expected = [1.0, 2.0, 3.0, 5.0].map(|red| [red, 0.0, 0.0]);
        assert_eq!(mesh.paint, Paint::Vertices(expected.to_vec()));
    }

    #[test]
    fn seams_of_a_texture_stay_open() {
        let mut mesh =
            square(vec![[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0; 3]], vec![[0, 1, 2], [3, 2, 1]]);
        let picture = image::RgbImage::new(1, 1);
        mesh.paint = Paint::Texture { coordinates: vec![[0.0; 2], [0.5; 2], [0.5; 2], [1.0; 2]], picture };
        assert_eq!(clean(&mesh).unwrap().vertices.len(), 4);
    }

    #[test]
    fn lists_that_do_not_fit_together_are_an_error() {
        let mesh = square(vec![[0.0; 3]; 3], vec![[0, 1, 3]]);
        assert!(matches!(clean(&mesh), Err(Error::Damaged(what)) if what == "a face names vertex 3 of 3"));
        let mut mesh = square(vec![[0.0; 3]; 3], vec![]);
        assert!(matches!(clean(&mesh), Err(Error::Empty(_))));
        mesh.normals.clear();
        assert!(matches!(clean(&mesh), Err(Error::Damaged(_))));
    }
}
