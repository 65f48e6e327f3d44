//! The release binaries that go into the images.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Image;
use crate::paths;
use crate::steps::say;
use crate::tools::last_lines;

/// Builds the binaries of this workspace that go into `images`, where they are not up to date, and returns the folder that holds them.
///
/// # Errors
/// Fails when cargo does; the message has its last words.
pub fn build_binaries(images: &[Image]) -> Result<PathBuf> {
    let binaries: Vec<_> = images.iter().flat_map(Image::binaries).flat_map(|name| ["--bin", name]).collect();
    if !binaries.is_empty() {
        // --workspace: the same features as every other build here, so that each dependency is compiled once.
        cargo(Command::new("cargo").args(["build", "--release", "--workspace"]).args(binaries))?;
    }
    Ok(paths::target().join("release"))
}

fn cargo(command: &mut Command) -> Result<()> {
    let mut cargo = command
        .current_dir(paths::source())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run cargo; is Rust installed?")?;
    let mut said = String::new();
    for line in cargo.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines()) {
        let line = line?;
        say(line.trim());
        said += &(line + "\n");
    }
    if !cargo.wait()?.success() {
        bail!("the binaries of the images cannot be built:\n{}", last_lines(&said, 40));
    }
    Ok(())
}
