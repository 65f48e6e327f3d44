//! Triangle meshes with colours.

use image::RgbImage;

/// A triangle mesh in the model's frame: z up, the front towards -y, within or near [-½, ½]³. There are as many normals as vertices, and faces name
/// no others.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// Positions.
    pub vertices: Vec<[f32; 3]>,
    /// Unit normals of the vertices, pointing outwards.
    pub normals: Vec<[f32; 3]>,
    /// Vertices of each triangle, counter-clockwise seen from outside.
    pub faces: Vec<[u32; 3]>,
    /// What colour it has.
    pub paint: Paint,
}

/// Where a mesh's colours are.
#[derive(Debug, Clone, PartialEq)]
pub enum Paint {
    /// Nowhere: it is grey.
    None,
    /// One of each vertex: sRGB, 0..1.
    Vertices(Vec<[f32; 3]>),
    /// In a picture.
    Texture {
        /// Of each vertex its place in the picture, 0..1 from its upper left corner, as glTF has it.
        coordinates: Vec<[f32; 2]>,
        /// sRGB.
        picture: RgbImage,
    },
}

impl Mesh {
    /// A mesh with normals from its faces.
    pub fn new(vertices: Vec<[f32; 3]>, faces: Vec<[u32; 3]>, paint: Paint) -> Self {
        Self { normals: vertex_normals(&vertices, &faces), vertices, faces, paint }
    }

    /// Whether there is nothing to see.
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty() || self.faces.is_empty()
    }
}

/// The normals of the faces around each vertex, weighted by area. Where they cancel out it is the z axis.
fn vertex_normals(vertices: &[[f32; 3]], faces: &[[u32; 3]]) -> Vec<[f32; 3]> {
    let mut sums = vec![[0.0f32; 3]; vertices.len()];
    for face in faces {
        let [a, b, c] = face.map(|vertex| vertices[vertex as usize]);
        let normal = cross(minus(b, a), minus(c, a));
        for &vertex in face {
            let sum = &mut sums[vertex as usize];
            *sum = [sum[0] + normal[0], sum[1] + normal[1], sum[2] + normal[2]];
        }
    }
    sums.into_iter().map(|sum| normalised(sum).unwrap_or([0.0, 0.0, 1.0])).collect()
}

pub(crate) fn minus(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// The vector with length 1. `None`: it has no direction.
pub(crate) fn normalised(a: [f32; 3]) -> Option<[f32; 3]> {
    // Faces of a fine grid are so small that the squares of their areas underflow f32.
    let square: f64 = a.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    (square.is_finite() && square > 0.0).then(|| a.map(|x| (f64::from(x) / square.sqrt()) as f32))
}

/// Linear light of an sRGB value in 0..1 (IEC 61966-2-1).
pub(crate) fn linear_from_srgb(value: f32) -> f32 {
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// The inverse of [`linear_from_srgb`].
pub(crate) fn srgb_from_linear(value: f32) -> f32 {
    if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_point_outwards_even_on_tiny_faces() {
        let corner = [[0.0; 3], [1e-8, 0.0, 0.0], [0.0, 1e-8, 0.0], [0.0, 0.0, 1e-8]];
        let faces = vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]];
        let mesh = Mesh::new(corner.to_vec(), faces, Paint::None);
        for (vertex, normal) in mesh.vertices.iter().zip(&mesh.normals) {
            let outwards = minus(*vertex, [0.25e-8; 3]);
            assert!(dot(*normal, outwards) > 0.0, "{vertex:?} {normal:?}");
            assert!((dot(*normal, *normal) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn colours_survive_the_way_to_linear_light_and_back() {
        for step in 0u8..=255 {
            let value = f32::from(step) / 255.0;
            assert!((srgb_from_linear(linear_from_srgb(value)) - value).abs() < 1e-6);
        }
        assert!((linear_from_srgb(0.5) - 0.214_041).abs() < 1e-6);
    }
}
