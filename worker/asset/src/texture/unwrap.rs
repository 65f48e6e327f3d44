//! A place in a square picture for every face.

use image::RgbImage;
use uvunwrap::{Atlas, Density, MeshInput, Packing};

use crate::postprocess::check;
use crate::{Error, Mesh, Paint, Result};

/// The texels around each piece of the surface: neighbours are twice as far apart, so that filtered look-ups and the first smaller
/// versions of the picture do not mix them.
const PADDING: u32 = 2;
/// A texture has at least so many texels for each face.
const MIN_TEXELS: usize = 4;

/// The mesh cut into pieces that lie flat in a square of `size` texels a side, without overlaps, each with a margin around it. Vertices at cuts are
/// there once for each piece, with the same normal. The picture is empty: one black texel.
///
/// # Errors
/// When the mesh is empty or damaged, or has more faces than a picture of that size can show.
pub fn unwrap(mesh: &Mesh, size: u32) -> Result<Mesh> {
    if mesh.is_empty() {
        return Err(Error::Empty("no surface"));
    }
    check(mesh)?;
    if mesh.faces.len() > size as usize * size as usize / MIN_TEXELS {
        return Err(Error::InvalidInput(format!(
            "{} faces are too many for a texture of {size} × {size}: simplify the mesh or take a larger texture",
            mesh.faces.len()
        )));
    }
    let (atlas, page) = atlas(mesh, size)?;
    let [output] = &atlas.meshes[..] else {
        return Err(Error::Damaged("it could not be unwrapped".to_owned()));
    };
    // The page ends with its last chart, and is as wide as was asked.
    let scale = [atlas.width as f32 / page as f32, atlas.height as f32 / page as f32];
    let coordinates = output.vertices.iter().map(|v| [v.uv[0] * scale[0], v.uv[1] * scale[1]]).collect();
    let origin = |list: &[[f32; 3]]| output.vertices.iter().map(|v| list[v.xref as usize]).collect();
    let (faces, _) = output.indices.as_chunks::<3>();
    Ok(Mesh {
        vertices: origin(&mesh.vertices),
        normals: origin(&mesh.normals),
        faces: faces.to_vec(),
        paint: Paint::Texture { coordinates, picture: RgbImage::new(1, 1) },
    })
}

/// The pieces on one page, and the page's side: larger than `size`, with narrower margins in the end, only if there are so many pieces that their
/// margins alone fill it.
fn atlas(mesh: &Mesh, size: u32) -> Result<(Atlas, u32)> {
    let input = MeshInput::new(&mesh.vertices, mesh.faces.as_flattened());
    let mut page = size;
    loop {
        let options = uvunwrap::Options {
            density: Density::Auto { page_size: page },
            padding: if page == size { PADDING } else { 1 },
            packing: Packing::Fast,
            ..uvunwrap::Options::default()
        };
        let atlas = uvunwrap::generate(&[input], &options)
            .map_err(|error| Error::Damaged(format!("it could not be unwrapped: {error}")))?;
        if atlas.page_count <= 1 {
            return Ok((atlas, page));
        }
        page = page.checked_mul(2).ok_or_else(|| Error::Damaged("it could not be unwrapped".to_owned()))?;
    }
}
