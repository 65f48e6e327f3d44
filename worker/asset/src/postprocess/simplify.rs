//! Fewer faces, by the quadric error metric (Garland & Heckbert, "Surface Simplification Using Quadric Error Metrics", 1997), as meshoptimizer
//! has it.

use meshopt::SimplifyOptions;
use rayon::prelude::*;

use super::clean::{twice_area, with_faces};
use crate::{Mesh, Paint};

/// How much a change from black to white in one channel counts, as a displacement in shares of the mesh's extent.
const COLOR_WEIGHT: f32 = 0.1;
/// The same for the way across a texture.
const TEXTURE_WEIGHT: f32 = 0.5;
/// A simplified mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Simplified {
    /// The mesh. Its normals are those of the vertices that were kept; make new ones when the shape matters.
    pub mesh: Mesh,
    /// The largest displacement, in the mesh's unit of length, as the quadrics estimate it.
    pub error: f32,
}

/// The mesh with at most `target` faces, if its edges can be collapsed so far: what hangs together stays so, and small pieces go when they are
/// smaller than the error. Vertices move to where the error is least; colours follow, and count as displacements: a change from black to
/// white is worth a tenth of the mesh's extent.
///
/// Noise in which every edge has many faces, or just one, keeps more faces than the target.
pub fn simplify(mesh: Mesh, target: usize) -> Simplified {
    if mesh.faces.len() <= target {
        return Simplified { mesh, error: 0.0 };
    }
    let pruned = collapse(&mesh, target, SimplifyOptions::ErrorAbsolute | SimplifyOptions::Prune);
    // Of noise, all may be smaller than the error.
    if pruned.mesh.faces.len() * 2 >= target {
        pruned
    } else {
        collapse(&mesh, target, SimplifyOptions::ErrorAbsolute)
    }
}

fn collapse(mesh: &Mesh, target: usize, options: SimplifyOptions) -> Simplified {
    let mut indices = mesh.faces.as_flattened().to_vec();
    let mut vertices = mesh.vertices.clone();
    let mut paint = mesh.paint.clone();
    let (attributes, weights) = match &mut paint {
        Paint::None => (&mut [][..], &[][..]),
        Paint::Vertices(colors) => (colors.as_flattened_mut(), &[COLOR_WEIGHT; 3][..]),
        Paint::Texture { coordinates, .. } => (coordinates.as_flattened_mut(), &[TEXTURE_WEIGHT; 2][..]),
    };
    let stride = size_of_val(weights);
    let mut error = 0.0;
    let left = meshopt::simplify_with_update(
        &mut indices,
        &mut vertices,
        attributes,
        weights,
        stride,
        None,
        target * 3,
        f32::MAX,
        options,
        Some(&mut error),
    );
    indices.truncate(left);
    if let Paint::Vertices(colors) = &mut paint {
        // The best value of a linear fit may lie beyond the range.
        colors.par_iter_mut().for_each(|color| *color = color.map(|value| value.clamp(0.0, 1.0)));
    }
    let moved = Mesh { vertices, normals: mesh.normals.clone(), faces: vec![], paint };
    Simplified { mesh: with_area(&moved, &indices), error }
}

/// The mesh with those of the faces that have an area.
fn with_area(mesh: &Mesh, indices: &[u32]) -> Mesh {
    let (faces, _) = indices.as_chunks::<3>();
    let has_area = |face: &&[u32; 3]| twice_area(face.map(|vertex| mesh.vertices[vertex as usize])) > 0.0;
    with_faces(mesh, faces.iter().filter(has_area).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flat square of `side`² small squares, black on the left and white on the right.
    fn sheet(side: u32) -> Mesh {
        let at = |i: u32| [(i % (side + 1)) as f32 / side as f32, (i / (side + 1)) as f32 / side as f32, 0.0];
        let vertices: Vec<_> = (0..(side + 1) * (side + 1)).map(at).collect();
        let corner = |x, y| y * (side + 1) + x;
        let faces = (0..side * side).flat_map(|i| {
            let (x, y) = (i % side, i / side);
            let [a, b, c, d] = [corner(x, y), corner(x + 1, y), corner(x + 1, y + 1), corner(x, y + 1)];
            [[a, b, c], [a, c, d]]
        });
        let colors = vertices.iter().map(|v| if v[0] < 0.5 { [0.0; 3] } else { [1.0; 3] }).collect();
        Mesh::new(vertices, faces.collect(), Paint::Vertices(colors))
    }

    #[test]
    fn colours_keep_faces_that_the_shape_does_not_need() {
        let plain = Mesh { paint: Paint::None, ..sheet(32) };
        let simplified = simplify(plain, 40);
        assert!(simplified.mesh.faces.len() <= 40 && simplified.error < 1e-3, "{simplified:?}");

        let simplified = simplify(sheet(32), 200).mesh;
        let Paint::Vertices(colors) = &simplified.paint else { panic!("colours are lost") };
        assert_eq!(colors.len(), simplified.vertices.len());
        for (vertex, color) in simplified.vertices.iter().zip(colors) {
            let [expected, uncertain] =
                [f32::from(vertex[0] > 0.48), f32::from((vertex[0] - 0.48).abs() < 0.06)];
            assert!((color[0] - expected).abs() < 0.1 + uncertain, "{vertex:?} {color:?}");
        }
    }

    #[test]
    fn noise_does_not_vanish() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let vertices: Vec<_> =
            (0..3000).map(|_| [0; 3].map(|_: u8| random() as f32 / (1 << 24) as f32)).collect();
        let faces: Vec<_> = (0..20_000).map(|_| [0; 3].map(|_: u8| random() % 3000)).collect();
        let faces = simplify(Mesh::new(vertices, faces, Paint::None), 500).mesh.faces.len();
        assert!(faces > 100, "{faces} faces");
    }
}
