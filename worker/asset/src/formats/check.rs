//! What every asset must be before it is written and after it was read.

use std::fmt::Display;

use super::{AssetRef, Format};
use crate::{Error, Gaussians, Mesh, Paint, Result};

/// Vertices, faces or Gaussians that are read at most: ten times what the model makes.
pub(super) const MOST: usize = 20_000_000;

/// An error about a file that cannot be read.
pub(super) fn damaged(format: Format, what: impl Display) -> Error {
    Error::InvalidInput(format!("the {format} file cannot be read: {what}"))
}

/// Refuses more than [`MOST`] of something.
pub(super) fn count(format: Format, what: &str, count: usize) -> Result<usize> {
    if count > MOST {
        return Err(damaged(format, format_args!("it has {count} {what}, more than {MOST}")));
    }
    Ok(count)
}

/// Refuses what no program could show.
pub(crate) fn asset(asset: AssetRef<'_>) -> Result<()> {
    match asset {
        AssetRef::Mesh(mesh) => self::mesh(mesh),
        AssetRef::Gaussians(gaussians) => self::gaussians(gaussians),
    }
}

fn mesh(mesh: &Mesh) -> Result<()> {
    if mesh.is_empty() {
        return Err(Error::Empty("no surface"));
    }
    let count = mesh.vertices.len();
    let (paint_count, paint_finite) = match &mesh.paint {
        Paint::None => (count, true),
        Paint::Vertices(colors) => (colors.len(), finite(colors)),
        Paint::Texture { coordinates, .. } => (coordinates.len(), finite(coordinates)),
    };
    if mesh.normals.len() != count || paint_count != count {
        return Err(Error::Damaged("it has more vertices than normals or colours, or fewer".to_owned()));
    }
    if !mesh.faces.as_flattened().iter().all(|&vertex| (vertex as usize) < count) {
        return Err(Error::Damaged("its faces name vertices that it lacks".to_owned()));
    }
    if !(finite(&mesh.vertices) && finite(&mesh.normals) && paint_finite) {
        return Err(Error::Damaged("it holds numbers that are not finite".to_owned()));
    }
    Ok(())
}

fn gaussians(gaussians: &Gaussians) -> Result<()> {
    let count = gaussians.positions.len();
    if count == 0 {
        return Err(Error::Empty("no Gaussian"));
    }
    let Gaussians { positions, harmonics, opacities, scales, rotations } = gaussians;
    if [harmonics.len(), opacities.len(), scales.len(), rotations.len()] != [count; 4] {
        return Err(Error::Damaged("its lists differ in length".to_owned()));
    }
    let vectors = finite(positions) && finite(harmonics) && finite(scales) && finite(rotations);
    if !vectors || opacities.iter().any(|opacity| !opacity.is_finite()) {
        return Err(Error::Damaged("it holds numbers that are not finite".to_owned()));
    }
    Ok(())
}

fn finite<const N: usize>(vectors: &[[f32; N]]) -> bool {
    vectors.as_flattened().iter().all(|value| value.is_finite())
}

/// A mesh that was read. Normals that are missing, too few or broken are computed anew.
pub(super) fn read_mesh(
    format: Format,
    vertices: Vec<[f32; 3]>,
    faces: Vec<[u32; 3]>,
    normals: Vec<[f32; 3]>,
    paint: Paint,
) -> Result<Mesh> {
    if vertices.is_empty() || faces.is_empty() {
        return Err(damaged(format, "it holds no triangles"));
    }
    count(format, "vertices", vertices.len())?;
    count(format, "triangles", faces.len())?;
    if !faces.as_flattened().iter().all(|&vertex| (vertex as usize) < vertices.len()) {
        return Err(damaged(format, "its faces name vertices that it lacks"));
    }
    if !finite(&vertices) {
        return Err(damaged(format, "it holds numbers that are not finite"));
    }
    let mesh = if normals.len() == vertices.len() && finite(&normals) {
        Mesh { vertices, normals, faces, paint }
    } else {
        Mesh::new(vertices, faces, paint)
    };
    self::mesh(&mesh).map_err(|error| damaged(format, error))?;
    Ok(mesh)
}

/// Gaussians that were read.
pub(super) fn read_gaussians(format: Format, gaussians: Gaussians) -> Result<Gaussians> {
    self::gaussians(&gaussians).map_err(|error| damaged(format, error))?;
    Ok(gaussians)
}
