//! A picture for the surface of a mesh: unwrapped into the plane, and painted with what Gaussians, a radiance field or the colours of a finer mesh show
//! at each place.
//!
//! Colours are sRGB all the way, as Gaussians and radiance fields were fitted to sRGB pictures by blending sRGB values: nothing here converts to
//! linear light or back, and the file formats store the picture as it is.

mod bvh;
mod field;
mod fill;
mod flats;
mod shade;
mod shelves;
mod splats;
mod surface;
mod texels;
mod unwrap;
mod view;

use std::time::Duration;

use crate::postprocess::{clean, timed, twice_area};
use crate::{Error, Gaussians, Mesh, Paint, RadianceField, Result};

pub use unwrap::unwrap;

/// Where a texture's colours come from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// What is seen of Gaussians from close outside of the surface.
    Gaussians(&'a Gaussians),
    /// What is seen of a radiance field from close outside of the surface.
    RadianceField(&'a RadianceField),
    /// The nearest point of another surface, such as the one that was simplified.
    Surface(&'a Mesh),
}

/// How a texture was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Texels that show a place of the surface.
    pub texels: usize,
    /// Those of them for which the source had a colour; the others took it from their neighbours.
    pub colored: usize,
    /// How long each stage took.
    pub stages: Vec<(&'static str, Duration)>,
}

/// The texels beyond the borders of a piece of the surface that get its colours.
const MARGIN: usize = 4;

/// The mesh with a texture of `size` × `size` texels. Vertices at the cuts are there once for each piece.
///
/// Each texel is seen from several directions around the normal, from a voxel's size (1/64 of the mesh's extent) outside to as much inside, the front
/// counting most; what other faces hide counts little. Gaussians are blended front to back in the order of their centres, as
/// the reference's rasteriser does. The reference instead fits the texture to a hundred rendered views; this needs none.
///
/// # Errors
/// When the size is not 16 to 8192, the mesh is empty, damaged or has more faces than the texture can show, or the lists of the source do not
/// fit together.
pub fn bake(mesh: &Mesh, source: Source<'_>, size: u32) -> Result<(Mesh, Report)> {
    if !(16..=8192).contains(&size) {
        return Err(Error::InvalidInput(format!("a texture has 16 to 8192 texels a side, not {size}")));
    }
    check(source)?;
    let mut report = Report::default();
    let mut mesh = timed(&mut report.stages, "unwrap", || unwrap(mesh, size))?;
    let Paint::Texture { coordinates, .. } = &mesh.paint else {
        return Err(Error::Damaged("it could not be unwrapped".to_owned()));
    };
    let texels = timed(&mut report.stages, "rasterise", || texels::texels(&mesh, coordinates, size as usize));
    let colors = timed(&mut report.stages, "bake", || match source {
        Source::Gaussians(gaussians) => {
            let bounds = bvh::Bounds::around(mesh.vertices.iter().copied());
            let extent = (area(&mesh) / texels.len().max(1) as f64).sqrt() as f32;
            let bounds = bounds.grown(shade::reach(&bounds));
            Ok(shade::shade(&splats::Splats::new(gaussians, &bounds, extent), &mesh, &texels))
        }
        Source::RadianceField(field) => Ok(shade::shade(&field::Field::new(field), &mesh, &texels)),
        Source::Surface(surface) => Ok(surface::shade(&clean(surface)?, &texels)),
    })?;
    (report.texels, report.colored) = (texels.len(), colors.len());
    let picture = timed(&mut report.stages, "fill", || {
        let mut picture = vec![[0; 4]; size as usize * size as usize];
        for (index, color) in colors {
            picture[index as usize] = color;
        }
        fill::fill(picture, size as usize, MARGIN)
    });
    if let Paint::Texture { picture: place, .. } = &mut mesh.paint {
        *place = picture;
    }
    Ok((mesh, report))
}

/// Whether the lists of a source are as long as each other.
fn check(source: Source<'_>) -> Result<()> {
    let (count, others, what) = match source {
        Source::Gaussians(Gaussians { positions, harmonics, opacities, scales, rotations }) => {
            let others = [harmonics.len(), opacities.len(), scales.len(), rotations.len()];
            (positions.len(), others, "Gaussians")
        }
        Source::RadianceField(RadianceField { positions, vectors, density, harmonics }) => {
            (positions.len(), [vectors.len(), density.len(), harmonics.len(), positions.len()], "voxels")
        }
        Source::Surface(_) => return Ok(()),
    };
    if others.iter().any(|&other| other != count) {
        return Err(Error::Damaged(format!("{count} {what} whose properties are {others:?} in number")));
    }
    Ok(())
}

fn area(mesh: &Mesh) -> f64 {
    let twice = |face: &[u32; 3]| twice_area(face.map(|vertex| mesh.vertices[vertex as usize]));
    mesh.faces.iter().map(twice).sum::<f64>() / 2.0
}
