//! Preview images: a mesh seen from the front, a little from the side and from above. On the CPU, so that a preview is
//! the same bytes whichever device made the mesh.

mod camera;
mod raster;
mod shade;

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use crate::mesh::{Mesh, Paint};
use crate::{Error, Result};
use camera::Camera;
use raster::{Corner, Raster};
use shade::shade;

/// Samples of a pixel on each axis.
const SUPERSAMPLING: usize = 2;

/// A PNG of `size` × `size` pixels, transparent around the object.
///
/// # Errors
/// When the mesh has no faces, or `size` is not 1 to 4096.
pub fn preview(mesh: &Mesh, size: u32) -> Result<Vec<u8>> {
    if mesh.is_empty() {
        return Err(Error::Empty("no surface"));
    }
    if !(1..=4096).contains(&size) {
        return Err(Error::InvalidInput(format!("a preview has 1 to 4096 pixels a side, not {size}")));
    }
    let samples = size as usize * SUPERSAMPLING;
    let camera = Camera::framing(mesh, samples);
    let color = |vertex: usize| match &mesh.paint {
        Paint::Vertices(colors) => colors[vertex],
        _ => [0.5; 3],
    };
    let corner = |vertex: usize| Corner {
        place: camera.project(mesh.vertices[vertex]),
        light: shade(color(vertex), mesh.normals[vertex]),
    };
    let corners: Vec<Corner> = (0..mesh.vertices.len()).into_par_iter().map(corner).collect();
    png(&Raster::draw(samples, &corners, &mesh.faces).pixels(SUPERSAMPLING), size)
}

fn png(pixels: &[[u8; 4]], size: u32) -> Result<Vec<u8>> {
    let mut file = Cursor::new(vec![]);
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Up)
        .write_image(pixels.as_flattened(), size, size, ExtendedColorType::Rgba8)
        .map_err(|error| Error::InvalidInput(format!("the preview could not be written: {error}")))?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A triangle that faces the camera.
    fn triangle() -> Mesh {
        Mesh {
            vertices: vec![[-0.5, 0.0, -0.5], [0.5, 0.0, -0.5], [0.0, 0.0, 0.5]],
            normals: vec![[0.0, -1.0, 0.0]; 3],
            faces: vec![[0, 1, 2]],
            paint: Paint::Vertices(vec![[1.0, 0.0, 0.0]; 3]),
        }
    }

    #[test]
    fn a_preview_shows_the_object_on_a_transparent_ground() {
        let file = preview(&triangle(), 64).unwrap();
        assert_eq!(file, preview(&triangle(), 64).unwrap());
        let picture = image::load_from_memory(&file).unwrap().to_rgba8();
        assert_eq!(picture.dimensions(), (64, 64));
        assert_eq!(picture.get_pixel(1, 1).0[3], 0);
        let [r, g, b, a] = picture.get_pixel(32, 40).0;
        assert!(a == 255 && r > 150 && g == 0 && b == 0, "{:?}", [r, g, b, a]);
    }

    #[test]
    fn what_is_nearer_hides_what_is_behind_whatever_the_order() {
        let mut mesh = triangle();
        mesh.vertices.extend(triangle().vertices.iter().map(|[x, _, z]| [*x, 0.3, *z]));
        mesh.normals.extend(triangle().normals);
        mesh.paint = Paint::Vertices([[[1.0, 0.0, 0.0]; 3], [[0.0, 1.0, 0.0]; 3]].concat());
        for faces in [vec![[0, 1, 2], [3, 4, 5]], vec![[3, 4, 5], [0, 1, 2]]] {
            mesh.faces = faces;
            let picture = image::load_from_memory(&preview(&mesh, 64).unwrap()).unwrap().to_rgba8();
            let [r, g, ..] = picture.get_pixel(32, 40).0;
            assert!(r > 150 && g == 0, "red is in front: {:?}", picture.get_pixel(32, 40));
        }
    }

    #[test]
    fn nothing_to_see_and_absurd_sizes_are_refused() {
        assert!(matches!(preview(&Mesh { faces: vec![], ..triangle() }, 64), Err(Error::Empty(_))));
        assert!(matches!(preview(&triangle(), 0), Err(Error::InvalidInput(_))));
        assert!(matches!(preview(&triangle(), 1 << 20), Err(Error::InvalidInput(_))));
    }
}
