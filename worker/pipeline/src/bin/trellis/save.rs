//! From what the model made to files: surfaces are cleaned, simplified and textured, and everything is written.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use trellis::asset::formats::Format;
use trellis::asset::render::{self, View};
use trellis::finish::{Finish, Finished, is_of_gaussians};
use trellis::pipeline::{Asset, Outputs, Pipeline, Quality};
use trellis::{Error, Result};

use crate::generate::PREVIEW_SIDE;
use crate::output;

/// Pictures of a turntable, and how many of them are shown in a second.
const TURNTABLE: (u32, f32) = (36, 12.0);

#[derive(Debug, clap::Args)]
pub(crate) struct SaveArguments {
    /// A file to write, in the format that its name tells: glb, zip (obj with its texture), stl or usdz for the surface, ply, splat or spz for
    /// Gaussians. May be given several times.
    #[arg(short, long = "output", required = true, value_name = "FILE")]
    outputs: Vec<PathBuf>,
    /// Write these formats under the one name that --output gives, which has no extension.
    #[arg(long, value_delimiter = ',', value_name = "FORMAT,...")]
    formats: Vec<Format>,
    /// Texels a side of the surface's texture; 0 leaves it with a colour at each vertex, as it is where no file shows a texture (stl). The quality's
    /// (1024) where left out.
    #[arg(long, value_name = "TEXELS", value_parser = output::texture_size)]
    texture_size: Option<u32>,
    /// The share of the surface's faces to remove, 0 to 1. The quality's (0.95) where left out.
    #[arg(long, value_name = "SHARE", value_parser = output::share)]
    simplify: Option<f32>,
    /// Leave holes of the surface open.
    #[arg(long)]
    no_fill_holes: bool,
    /// A PNG of the asset to write.
    #[arg(long, value_name = "FILE")]
    preview: Option<PathBuf>,
    /// A WebP to write in which the asset turns.
    #[arg(long, value_name = "FILE")]
    turntable: Option<PathBuf>,
}

/// The files to write, their names checked.
pub(crate) struct Plan<'a> {
    arguments: &'a SaveArguments,
    files: Vec<(PathBuf, Format)>,
    numbered: bool,
}

/// What was saved of one asset.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Saved {
    pub(crate) files: Vec<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vertices: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faces: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gaussians: Option<usize>,
    save_milliseconds: u128,
}

/// One file that was written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) bytes: usize,
    #[serde(skip)]
    pub(crate) content: String,
}

impl SaveArguments {
    /// What the quality says, under what is said here.
    fn finish(&self, quality: Option<Quality>) -> Finish {
        let preset = Finish::from(quality.unwrap_or(Quality::Balanced));
        Finish {
            texture_size: self.texture_size.unwrap_or(preset.texture_size),
            simplify: self.simplify.unwrap_or(preset.simplify),
            fill_holes: !self.no_fill_holes,
        }
    }

    /// Fails before anything is computed where a file could not be written, or its name does not tell the format.
    pub(crate) fn plan(&self, samples: usize) -> Result<Plan<'_>> {
        self.preview.iter().try_for_each(|path| output::check_picture(path, "png", "--preview"))?;
        self.turntable.iter().try_for_each(|path| output::check_picture(path, "webp", "--turntable"))?;
        let files = match (self.formats.as_slice(), self.outputs.as_slice()) {
            ([], outputs) => {
                let named = |path: &PathBuf| Ok((path.clone(), Format::of(path)?));
                outputs.iter().map(named).collect::<Result<_>>()?
            }
            (formats, [name]) => {
                let named = |&format: &Format| {
                    let file = format!("{}.{}", name.display(), format.extension());
                    (PathBuf::from(file), format)
                };
                formats.iter().map(named).collect()
            }
            _ => {
                return Err(Error::InvalidInput(
                    "with --formats, give --output once: the name of all files".into(),
                ));
            }
        };
        let plan = Plan { arguments: self, files, numbered: samples > 1 };
        plan.files.iter().try_for_each(|(path, _)| output::check(&plan.numbered(path, 0)))?;
        Ok(plan)
    }
}

impl Plan<'_> {
    /// What the model must decode.
    pub(crate) fn outputs(&self, pipeline: &Pipeline, quality: Option<Quality>) -> Outputs {
        self.finish(quality).outputs(&self.formats(), pipeline.decoders().has_gaussians())
    }

    fn finish(&self, quality: Option<Quality>) -> Finish {
        self.arguments.finish(quality).for_files(&self.formats())
    }

    fn formats(&self) -> Vec<Format> {
        self.files.iter().map(|(_, format)| *format).collect()
    }

    /// Writes the files of one asset.
    pub(crate) fn save(&self, asset: Asset, quality: Option<Quality>) -> Result<Saved> {
        let start = Instant::now();
        let sample = asset.sample;
        let whole = self.finish(quality).apply(asset)?;
        let mut files = Vec::new();
        for (path, format) in &self.files {
            files.push(write(self.numbered(path, sample), &whole.file(*format)?, describe(&whole, *format))?);
        }
        if let Some(path) = &self.arguments.preview {
            let picture = render::preview(whole.look()?, PREVIEW_SIDE)?;
            files.push(write(self.numbered(path, sample), &picture, "picture".into())?);
        }
        if let Some(path) = &self.arguments.turntable {
            let (frames, per_second) = TURNTABLE;
            let pictures = render::turntable(whole.look()?, &View::default(), frames)?;
            let animation = render::animation(&pictures, per_second)?;
            files.push(write(self.numbered(path, sample), &animation, format!("{frames} pictures"))?);
        }
        Ok(Saved {
            files,
            vertices: whole.mesh.as_ref().map(|mesh| mesh.vertices.len()),
            faces: whole.mesh.as_ref().map(|mesh| mesh.faces.len()),
            gaussians: whole.gaussians.as_ref().map(|gaussians| gaussians.positions.len()),
            save_milliseconds: start.elapsed().as_millis(),
        })
    }

    /// The path itself, or with the sample's number before its extension.
    fn numbered(&self, path: &Path, sample: usize) -> PathBuf {
        if !self.numbered {
            return path.to_owned();
        }
        let mut name = path.file_stem().unwrap_or_default().to_owned();
        name.push(format!("-{sample}"));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    }
}

fn describe(whole: &Finished, format: Format) -> String {
    match (&whole.mesh, &whole.gaussians) {
        (Some(mesh), _) if !is_of_gaussians(format) => {
            format!("{} vertices, {} faces", mesh.vertices.len(), mesh.faces.len())
        }
        (_, Some(gaussians)) => format!("{} Gaussians", gaussians.positions.len()),
        _ => String::new(),
    }
}

fn write(path: PathBuf, bytes: &[u8], content: String) -> Result<File> {
    fs::write(&path, bytes).map_err(Error::io(&path))?;
    Ok(File { path, bytes: bytes.len(), content })
}
