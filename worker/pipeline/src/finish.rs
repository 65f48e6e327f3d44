//! From what the decoders made to what people use: a surface that is cleaned, simplified and textured, and files of it.

use std::time::{Duration, Instant};

use trellis_asset::formats::{self, AssetRef, Format};
use trellis_asset::postprocess::{self, Target, postprocess};
use trellis_asset::texture::{self, Source};
use trellis_asset::{Gaussians, Mesh, RadianceField};

use crate::pipeline::{Asset, Outputs, Preset, Quality};
use crate::{Error, Result};

/// How a surface is finished.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finish {
    /// Texels a side of its texture; 0 leaves it with a colour at each vertex.
    pub texture_size: u32,
    /// The share of its faces to remove, 0 to 1.
    pub simplify: f32,
    /// Whether holes are closed.
    pub fill_holes: bool,
}

impl From<Quality> for Finish {
    /// What the preset says.
    fn from(quality: Quality) -> Self {
        let Preset { texture_size, simplify, .. } = quality.preset();
        Self { texture_size, simplify: simplify as f32, fill_holes: true }
    }
}

/// An asset that is ready to be written and drawn.
#[derive(Debug)]
pub struct Finished {
    /// The surface, if asked for.
    pub mesh: Option<Mesh>,
    /// The Gaussians, if asked for.
    pub gaussians: Option<Gaussians>,
    /// How long finishing took.
    pub duration: Duration,
}

/// Whether files of this format hold Gaussians. A PLY may hold either; what the reference writes in it are Gaussians.
pub fn is_of_gaussians(format: Format) -> bool {
    matches!(format, Format::Ply | Format::Splat | Format::Spz)
}

impl Finish {
    /// As it is, but without a texture where no file of these formats shows one.
    #[must_use]
    pub fn for_files(self, formats: &[Format]) -> Self {
        let textured = formats.iter().any(|format| format.holds_textures());
        Self { texture_size: if textured { self.texture_size } else { 0 }, ..self }
    }

    /// What must be decoded for files of these formats. A texture shows Gaussians, where the model `has_gaussians`.
    pub fn outputs(self, formats: &[Format], has_gaussians: bool) -> Outputs {
        let mesh = formats.iter().any(|format| !is_of_gaussians(*format));
        let splats = formats.iter().any(|format| is_of_gaussians(*format));
        let textured = mesh && self.texture_size > 0;
        Outputs { mesh, gaussians: splats || (textured && has_gaussians), radiance_field: false }
    }

    /// Finishes an asset.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a number out of range; [`Error::Empty`] when nothing of the surface remains.
    pub fn apply(self, asset: Asset) -> Result<Finished> {
        let start = Instant::now();
        let Asset { mesh, gaussians, radiance_field, .. } = asset;
        let mesh =
            mesh.map(|mesh| self.surface(&mesh, gaussians.as_ref(), radiance_field.as_ref())).transpose()?;
        Ok(Finished { mesh, gaussians, duration: start.elapsed() })
    }

    /// The surface. Its colours come from the Gaussians or the radiance field, where there are any, else from itself before it was simplified.
    fn surface(
        self,
        mesh: &Mesh,
        gaussians: Option<&Gaussians>,
        field: Option<&RadianceField>,
    ) -> Result<Mesh> {
        let default = postprocess::Options::default();
        let options = postprocess::Options {
            simplify: Target::Ratio(self.simplify),
            holes: if self.fill_holes { default.holes } else { 0 },
            ..default
        };
        let (simple, _) = postprocess(mesh, &options)?;
        if self.texture_size == 0 {
            return Ok(simple);
        }
        let field = field.map(Source::RadianceField);
        let source = gaussians.map(Source::Gaussians).or(field).unwrap_or(Source::Surface(mesh));
        Ok(texture::bake(&simple, source, self.texture_size)?.0)
    }
}

impl Finished {
    /// What a file of this format holds.
    ///
    /// # Errors
    /// [`Error::Empty`] when that was not asked for.
    pub fn held_by(&self, format: Format) -> Result<AssetRef<'_>> {
        let mesh = self.mesh.as_ref().filter(|_| !is_of_gaussians(format)).map(Into::into);
        let gaussians = self.gaussians.as_ref().filter(|_| is_of_gaussians(format)).map(Into::into);
        mesh.or(gaussians).ok_or(Error::Empty("nothing of the kind that was asked for"))
    }

    /// A file of it.
    ///
    /// # Errors
    /// As [`Finished::held_by`] and [`formats::write`].
    pub fn file(&self, format: Format) -> Result<Vec<u8>> {
        Ok(formats::write(self.held_by(format)?, format, &formats::Options::default())?)
    }

    /// What pictures show: the surface where there is one.
    ///
    /// # Errors
    /// [`Error::Empty`] when there is nothing.
    pub fn look(&self) -> Result<AssetRef<'_>> {
        self.held_by(Format::Glb).or_else(|_| self.held_by(Format::Splat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_texture_that_no_file_shows_is_not_made() {
        let finish = Finish::from(Quality::Balanced);
        let stl = finish.for_files(&[Format::Stl]);
        assert_eq!(stl, Finish { texture_size: 0, ..finish });
        // Nor are the Gaussians that would colour it.
        assert_eq!(
            stl.outputs(&[Format::Stl], true),
            Outputs { mesh: true, gaussians: false, radiance_field: false }
        );
        for shown in [Format::Glb, Format::Obj, Format::Usdz] {
            assert_eq!(finish.for_files(&[Format::Stl, Format::Ply, shown]), finish);
        }
    }
}
