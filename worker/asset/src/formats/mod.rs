//! Asset files: what is written is the same bytes every time, what is read may come from anyone.

mod archive;
pub(crate) mod check;
mod glb;
mod merge;
pub mod obj;
pub mod ply;
mod splat;
mod spz;
mod stl;
mod texture;
mod usdz;

use std::fmt;
use std::path::Path;

use crate::{Error, Gaussians, Mesh, Result};

pub use texture::TextureFormat;

/// A kind of asset file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Binary glTF 2.0.
    Glb,
    /// Wavefront OBJ with its material and texture, in one ZIP archive.
    Obj,
    /// Stanford PLY, binary: a mesh with colours, or Gaussians as the 3D Gaussian Splatting programs have them.
    Ply,
    /// 32 bytes a Gaussian, as the first viewer for web browsers had them.
    Splat,
    /// Compressed Gaussians by Niantic.
    Spz,
    /// Binary STL: the shape alone.
    Stl,
    /// USD in an uncompressed archive, for Apple's viewers.
    Usdz,
}

/// An asset that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Asset {
    /// A surface.
    Mesh(Mesh),
    /// A cloud of Gaussians.
    Gaussians(Gaussians),
}

/// An asset to write or to draw.
#[derive(Debug, Clone, Copy)]
pub enum AssetRef<'a> {
    /// A surface.
    Mesh(&'a Mesh),
    /// A cloud of Gaussians.
    Gaussians(&'a Gaussians),
}

impl<'a> From<&'a Mesh> for AssetRef<'a> {
    fn from(mesh: &'a Mesh) -> Self {
        Self::Mesh(mesh)
    }
}

impl<'a> From<&'a Gaussians> for AssetRef<'a> {
    fn from(gaussians: &'a Gaussians) -> Self {
        Self::Gaussians(gaussians)
    }
}

impl<'a> From<&'a Asset> for AssetRef<'a> {
    fn from(asset: &'a Asset) -> Self {
        match asset {
            Asset::Mesh(mesh) => Self::Mesh(mesh),
            Asset::Gaussians(gaussians) => Self::Gaussians(gaussians),
        }
    }
}

/// How a file is written, where its format leaves a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// How the texture is stored, where there is one.
    pub texture: TextureFormat,
    /// Whether a GLB is compressed, which also rounds its numbers: positions to 1/65535 of the longest side, normals to about one degree.
    pub compress: bool,
}

/// What is to know of a format.
struct Facts {
    name: &'static str,
    extension: &'static str,
    meshes: bool,
    gaussians: bool,
    textures: bool,
    readable: bool,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Glb, Self::Obj, Self::Ply, Self::Splat, Self::Spz, Self::Stl, Self::Usdz];

    const fn facts(self) -> Facts {
        let (name, extension, meshes, gaussians, textures, readable) = match self {
            Self::Glb => ("glb", "glb", true, false, true, true),
            Self::Obj => ("obj", "zip", true, false, true, true),
            Self::Ply => ("ply", "ply", true, true, false, true),
            Self::Splat => ("splat", "splat", false, true, false, true),
            Self::Spz => ("spz", "spz", false, true, false, true),
            Self::Stl => ("stl", "stl", true, false, false, true),
            Self::Usdz => ("usdz", "usdz", true, false, true, false),
        };
        Facts { name, extension, meshes, gaussians, textures, readable }
    }

    /// Its name in lower case, which is also what `--to` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The extension of its files' names, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        self.facts().extension
    }

    /// Whether [`read`] takes it.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.facts().readable
    }

    /// Whether it can hold this asset.
    #[must_use]
    pub const fn holds(self, asset: AssetRef<'_>) -> bool {
        match asset {
            AssetRef::Mesh(_) => self.facts().meshes,
            AssetRef::Gaussians(_) => self.facts().gaussians,
        }
    }

    /// Whether it holds the texture of a mesh; others hold a colour for each vertex, or none.
    #[must_use]
    pub const fn holds_textures(self) -> bool {
        self.facts().textures
    }

    /// The format that a file's name tells.
    ///
    /// # Errors
    /// When its extension is none of a known format.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let known = |format: &&Self| {
            [format.extension(), format.name()].iter().any(|known| known.eq_ignore_ascii_case(extension))
        };
        Self::ALL.iter().find(known).copied().ok_or_else(|| {
            let known = list(Self::ALL.iter().copied());
            Error::InvalidInput(format!(
                "{}: the name tells no known format; there is {known}",
                path.display()
            ))
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("there is {}", list(Self::ALL.into_iter())))
    }
}

fn list(formats: impl Iterator<Item = Format>) -> String {
    formats.map(Format::name).collect::<Vec<_>>().join(", ")
}

/// The file of an asset. The same asset and options give the same bytes, on any number of threads.
///
/// # Errors
/// When the asset is empty or holds numbers that are not finite, or the format cannot hold it; the message then says which can.
pub fn write<'a>(asset: impl Into<AssetRef<'a>>, format: Format, options: &Options) -> Result<Vec<u8>> {
    let asset = asset.into();
    check::asset(asset)?;
    match (asset, format) {
        (AssetRef::Mesh(mesh), Format::Glb) => glb::encode(mesh, options),
        (AssetRef::Mesh(mesh), Format::Obj) => obj::archive(mesh, options),
        (AssetRef::Mesh(mesh), Format::Ply) => Ok(ply::mesh(mesh)),
        (AssetRef::Mesh(mesh), Format::Stl) => stl::write(mesh),
        (AssetRef::Mesh(mesh), Format::Usdz) => usdz::write(mesh, options),
        (AssetRef::Gaussians(gaussians), Format::Ply) => Ok(ply::gaussians(gaussians, ply::Axes::YDown)),
        (AssetRef::Gaussians(gaussians), Format::Splat) => Ok(splat::write(gaussians)),
        (AssetRef::Gaussians(gaussians), Format::Spz) => spz::write(gaussians),
        (asset, format) => {
            let kind = match asset {
                AssetRef::Mesh(_) => "a mesh",
                AssetRef::Gaussians(_) => "Gaussians",
            };
            let fit = list(Format::ALL.into_iter().filter(|format| format.holds(asset)));
            Err(Error::InvalidInput(format!("a {format} file cannot hold {kind}; these can: {fit}")))
        }
    }
}

/// Reads the asset in a file. An OBJ may be the archive that [`write`] makes or the bare text; what the text names beside it is then not there,
/// see [`obj::read`].
///
/// Memory stays within a small multiple of what the file may hold: 20 million vertices, faces or Gaussians, textures of 8192 × 8192.
///
/// # Errors
/// When it is damaged, holds nothing, or holds something that is not supported.
pub fn read(bytes: &[u8], format: Format) -> Result<Asset> {
    match format {
        Format::Glb => glb::read(bytes).map(Asset::Mesh),
        Format::Obj => obj::read(bytes, &mut |_| None).map(Asset::Mesh),
        Format::Ply => ply::read(bytes),
        Format::Splat => splat::read(bytes).map(Asset::Gaussians),
        Format::Spz => spz::read(bytes).map(Asset::Gaussians),
        Format::Stl => stl::read(bytes).map(Asset::Mesh),
        Format::Usdz => {
            let readable = list(Format::ALL.into_iter().filter(|format| format.is_readable()));
            Err(Error::InvalidInput(format!("usdz files are only written; these can be read: {readable}")))
        }
    }
}

/// From the model's frame, z up, to that of glTF, OBJ, USD and SPZ: y up, the front towards +z (SPEC section 8).
fn y_up([x, y, z]: [f32; 3]) -> [f32; 3] {
    [x, z, -y]
}

/// The inverse of [`y_up`].
fn z_up([x, y, z]: [f32; 3]) -> [f32; 3] {
    [x, -z, y]
}
