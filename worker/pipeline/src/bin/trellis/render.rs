//! `trellis render`: a picture of an asset, or a turntable.

use std::fs;
use std::path::PathBuf;

use trellis::asset::render::{self, View};
use trellis::{Error, Result};

use crate::convert::read;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An asset file: glb, obj, zip (with an obj), ply, splat, spz, stl.
    input: PathBuf,
    /// A .png or .webp, or a folder for the frames of a turntable; a .webp of more than one frame moves.
    output: PathBuf,
    /// Pixels a side.
    #[arg(long, default_value_t = View::default().size, value_parser = clap::value_parser!(u32).range(1..=4096))]
    size: u32,
    /// Pictures from all around; one where left out, and 36 for a folder.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=720))]
    frames: Option<u32>,
    /// Frames a second of a turntable.
    #[arg(long, default_value_t = 12.0)]
    fps: f32,
    /// How far to the right of the front the viewer stands, in degrees.
    #[arg(long, default_value_t = View::default().azimuth, allow_negative_numbers = true)]
    azimuth: f32,
    /// How far above the middle, in degrees.
    #[arg(long, default_value_t = View::default().elevation, allow_negative_numbers = true)]
    elevation: f32,
}

/// Frames of a turntable whose number nobody says.
const FRAMES: u32 = 36;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Png,
    WebP,
    Folder,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kind = arguments.kind()?;
    let view = View { size: arguments.size, azimuth: arguments.azimuth, elevation: arguments.elevation };
    let asset = read(&arguments.input)?;
    let output = &arguments.output;
    let frames = arguments.frames.unwrap_or(if kind == Output::Folder { FRAMES } else { 1 });
    if kind == Output::Folder {
        fs::create_dir_all(output).map_err(Error::io(output))?;
        for (index, frame) in render::turntable(&asset, &view, frames)?.iter().enumerate() {
            let path = output.join(format!("{index:03}.png"));
            fs::write(&path, render::png(frame)?).map_err(Error::io(&path))?;
        }
    } else {
        let file = match (kind, frames) {
            (Output::WebP, 1) => render::webp(&render::picture(&asset, &view)?)?,
            (Output::WebP, frames) => {
                render::animation(&render::turntable(&asset, &view, frames)?, arguments.fps)?
            }
            _ => render::png(&render::picture(&asset, &view)?)?,
        };
        fs::write(output, file).map_err(Error::io(output))?;
    }
    println!("{}", output.display());
    Ok(())
}

impl Arguments {
    fn kind(&self) -> Result<Output> {
        let has = |extension| output::has_extension(&self.output, extension);
        let kind = match self.output.extension() {
            _ if has("png") => Output::Png,
            _ if has("webp") => Output::WebP,
            None => Output::Folder,
            Some(other) => {
                return Err(Error::InvalidInput(format!(
                    "{}: pictures are .png or .webp files or a folder, not .{}",
                    self.output.display(),
                    other.display()
                )));
            }
        };
        if kind != Output::Folder {
            output::check(&self.output)?;
        }
        if kind == Output::Png && self.frames.is_some_and(|frames| frames > 1) {
            return Err(Error::InvalidInput(
                "a PNG does not move: name a .webp, or a folder for the frames".to_owned(),
            ));
        }
        Ok(kind)
    }
}
