//! The release binaries that go into the images.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::images::IMAGES;
use crate::paths;
use crate::steps::say;
use crate::tools::last_lines;

/// Builds the programs of all images and returns the folder that holds them.
pub(super) fn build() -> Result<PathBuf> {
    let binaries = IMAGES.iter().flat_map(|image| image.binaries()).flat_map(|name| ["--bin", name]);
    let mut cargo = Command::new("cargo")
        .args(["build", "--release", "--workspace"])
        .args(binaries)
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
        bail!("the programs cannot be built:\n{}", last_lines(&said, 40));
    }
    Ok(paths::target().join("release"))
}
