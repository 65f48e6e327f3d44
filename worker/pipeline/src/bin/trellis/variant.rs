//! `trellis variant`: a mesh and a text in, asset files out.

use std::path::PathBuf;

use trellis::asset::formats::Asset;
use trellis::pipeline::Input;
use trellis::{Error, Result};

use crate::convert::read;
use crate::request::{self, RequestArguments};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shape: a mesh in a glb, obj, zip (with an obj), ply or stl file. Its colours do not count.
    mesh: PathBuf,
    /// What is to be seen on it; the model must be a text model.
    #[arg(long, value_name = "PROMPT")]
    text: String,
    #[command(flatten)]
    request: RequestArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Asset::Mesh(mesh) = read(&arguments.mesh)? else {
        return Err(Error::InvalidInput(format!(
            "{}: holds Gaussians, which have no surface; name a file with a mesh",
            arguments.mesh.display()
        )));
    };
    request::run(Input::Variant { mesh: Box::new(mesh), prompt: arguments.text.clone() }, &arguments.request)
}
