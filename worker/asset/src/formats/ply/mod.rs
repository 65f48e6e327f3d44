//! Stanford PLY (<http://paulbourke.net/dataformats/ply/>): a header of text that declares what the binary rest is.
//!
//! Meshes are z up, as Blender and MeshLab take them, with a colour of each vertex. A texture does not fit into the one file: of a textured mesh
//! each vertex gets the colour that the texture has there.

mod gaussians;
mod header;
mod read;
mod rows;

use crate::render::vertex_colors;
use crate::{Mesh, Paint};

pub use gaussians::{Axes, gaussians};
pub(super) use read::read;

/// The file of a mesh.
pub(super) fn mesh(mesh: &Mesh) -> Vec<u8> {
    let colors = match &mesh.paint {
        Paint::None => None,
        paint => Some(vertex_colors(paint)),
    };
    let mut file = header(mesh, colors.is_some()).into_bytes();
    for (vertex, (position, normal)) in mesh.vertices.iter().zip(&mesh.normals).enumerate() {
        file.extend_from_slice(bytemuck::bytes_of(position));
        file.extend_from_slice(bytemuck::bytes_of(normal));
        if let Some(colors) = &colors {
            file.extend(colors[vertex].map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8));
        }
    }
    for face in &mesh.faces {
        file.push(3);
        file.extend_from_slice(bytemuck::bytes_of(face));
    }
    file
}

fn header(mesh: &Mesh, colors: bool) -> String {
    let colors = if colors { "property uchar red\nproperty uchar green\nproperty uchar blue\n" } else { "" };
    format!(
        "ply\nformat binary_little_endian 1.0\ncomment made by trellis3d\nelement vertex {}\n\
         property float x\nproperty float y\nproperty float z\n\
         property float nx\nproperty float ny\nproperty float nz\n{colors}\
         element face {}\nproperty list uchar int vertex_indices\nend_header\n",
        mesh.vertices.len(),
        mesh.faces.len()
    )
}
