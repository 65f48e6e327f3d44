//! `trellis generate`: photos or a text in, asset files out.

use std::fs;
use std::path::{Path, PathBuf};

use trellis::pipeline::Input;
use trellis::{Error, Result, image};

use crate::request::{self, RequestArguments};

/// Side of the preview in pixels.
pub(crate) const PREVIEW_SIDE: u32 = 512;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Photos of one object: PNG, JPEG or WebP. Where nothing of one is transparent, its background is removed.
    #[arg(required_unless_present = "text", conflicts_with = "text")]
    photos: Vec<PathBuf>,
    /// What the object looks like, for a text model.
    #[arg(long, value_name = "PROMPT")]
    text: Option<String>,
    #[command(flatten)]
    request: RequestArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Read first: a mistyped file name should not cost the loading of a model.
    let input = match &arguments.text {
        Some(prompt) => Input::Text(prompt.clone()),
        None => Input::Images(arguments.photos.iter().map(|path| read(path)).collect::<Result<_>>()?),
    };
    request::run(input, &arguments.request)
}

/// Decodes a photo; an error names the file.
pub(crate) fn read(path: &Path) -> Result<::image::RgbaImage> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    image::decode(&bytes).map_err(|error| match error {
        Error::InvalidInput(message) => Error::InvalidInput(format!("{}: {message}", path.display())),
        other => other,
    })
}
