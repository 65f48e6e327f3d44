//! The colours of another mesh, such as the one that was simplified.

use rayon::prelude::*;

use super::bvh::Bvh;
use super::fill::Filled;
use super::texels::Texel;
use crate::{Mesh, Paint};

/// Texels that one thread paints in a row, each looking first at the face that the one before has found.
const ROW: usize = 1024;

/// The colours of the surface's points nearest to the texels, with the texels' numbers.
pub(super) fn shade(surface: &Mesh, texels: &[Texel]) -> Vec<(u32, Filled)> {
    let tree = Bvh::new(surface);
    let row = |texels: &[Texel]| {
        let mut face = 0;
        let color = |texel: &Texel| {
            let (nearest, shares) = tree.nearest(texel.point, face);
            face = nearest;
            let [r, g, b] = color_at(surface, nearest, shares).map(|x| (x * 255.0).round() as u8);
            (texel.index, [r, g, b, 255])
        };
        texels.iter().map(color).collect::<Vec<_>>()
    };
    texels.par_chunks(ROW).flat_map_iter(row).collect()
}

fn color_at(mesh: &Mesh, face: u32, shares: [f32; 3]) -> [f32; 3] {
    let corners = mesh.faces[face as usize].map(|vertex| vertex as usize);
    match &mesh.paint {
        Paint::None => [0.5; 3],
        Paint::Vertices(colors) => [0, 1, 2]
            .map(|channel| (0..3).map(|corner| shares[corner] * colors[corners[corner]][channel]).sum()),
        Paint::Texture { coordinates, picture } => {
            let place = [0, 1]
                .map(|axis| (0..3).map(|corner| shares[corner] * coordinates[corners[corner]][axis]).sum());
            image::imageops::sample_bilinear(picture, wrapped(place[0]), wrapped(place[1]))
                .map_or([0.5; 3], |pixel| pixel.0.map(|byte| f32::from(byte) / 255.0))
        }
    }
}

/// Pictures repeat beyond their borders.
fn wrapped(at: f32) -> f32 {
    if (0.0..=1.0).contains(&at) { at } else { at - at.floor() }
}
