//! `trellis convert`: an asset file in one format to another.

use std::fs;
use std::path::{Path, PathBuf};

use trellis::asset::formats::{self, Asset, Format, Options, TextureFormat, obj};
use trellis::asset::postprocess::{self, Target, postprocess};
use trellis::{Error, Result};

use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to read: glb, obj, zip (with an obj), ply, splat, spz, stl.
    input: PathBuf,
    /// The file to write: glb, obj, zip (obj with its texture), ply, splat, spz, stl, usdz.
    output: PathBuf,
    /// The format to write, where the file's name does not tell it.
    #[arg(long)]
    to: Option<Format>,
    /// How a texture is stored: png, jpeg or webp.
    #[arg(long, default_value = "png")]
    texture: TextureFormat,
    /// Compress a GLB (`EXT_meshopt_compression`): a third of the size, rounded, for programs that know the extension.
    #[arg(long)]
    compress: bool,
    /// Simplify a mesh by removing this share of its faces, 0 to 1.
    #[arg(long, value_name = "SHARE", conflicts_with = "faces", value_parser = output::share)]
    simplify: Option<f32>,
    /// Simplify a mesh to so many faces.
    #[arg(long)]
    faces: Option<usize>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let format = arguments.format()?;
    output::check(&arguments.output)?;
    let asset = arguments.simplified(read(&arguments.input)?)?;
    let options = Options { texture: arguments.texture, compress: arguments.compress };
    let path = &arguments.output;
    let bytes = match &asset {
        Asset::Mesh(mesh) if format == Format::Obj && output::has_extension(path, "obj") => {
            write_beside(path, &obj::files(mesh, &stem(path), &options)?)?
        }
        asset => {
            let file = formats::write(asset, format, &options)?;
            fs::write(path, &file).map_err(Error::io(path))?;
            file.len()
        }
    };
    println!("{}: {}, {bytes} bytes", path.display(), describe(&asset));
    Ok(())
}

impl Arguments {
    fn format(&self) -> Result<Format> {
        let named = || {
            Format::of(&self.output).map_err(|error| Error::InvalidInput(format!("{error}; --to names one")))
        };
        self.to.map_or_else(named, Ok)
    }

    fn simplified(&self, asset: Asset) -> Result<Asset> {
        let simplify = match (self.simplify, self.faces) {
            (Some(ratio), _) => Target::Ratio(ratio),
            (None, Some(faces)) => Target::Faces(faces),
            (None, None) => return Ok(asset),
        };
        let Asset::Mesh(mesh) = asset else {
            return Err(Error::InvalidInput("only meshes can be simplified".to_owned()));
        };
        // Nothing else is done to it: what a file holds is what somebody wants.
        let options = postprocess::Options { floaters: 0.0, hidden: false, holes: 0, simplify };
        Ok(Asset::Mesh(postprocess(&mesh, &options)?.0))
    }
}

/// Reads an asset; an error names the file. What a bare OBJ names is looked for in its folder, and nowhere else.
pub(crate) fn read(path: &Path) -> Result<Asset> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let format = Format::of(path)?;
    let mut beside = |name: &str| {
        let name = Path::new(name).file_name().filter(|file| *file == name)?;
        fs::read(path.with_file_name(name)).ok()
    };
    let read = match format {
        Format::Obj => obj::read(&bytes, &mut beside).map(Asset::Mesh),
        format => formats::read(&bytes, format),
    };
    read.map_err(|error| Error::InvalidInput(format!("{}: {error}", path.display())))
}

/// Writes an OBJ and its companions into one folder.
fn write_beside(output: &Path, files: &[(String, Vec<u8>)]) -> Result<usize> {
    for (name, bytes) in files {
        let path = output.with_file_name(name);
        fs::write(&path, bytes).map_err(Error::io(&path))?;
    }
    Ok(files.iter().map(|(_, bytes)| bytes.len()).sum())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn describe(asset: &Asset) -> String {
    match asset {
        Asset::Mesh(mesh) => format!("{} vertices, {} faces", mesh.vertices.len(), mesh.faces.len()),
        Asset::Gaussians(gaussians) => format!("{} Gaussians", gaussians.positions.len()),
    }
}
