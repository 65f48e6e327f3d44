//! The folder that a Dockerfile copies from.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::Content;
use crate::tools;

/// Files, by their path in the context and their place on this machine.
#[derive(Debug)]
pub(super) struct Context(Vec<(PathBuf, PathBuf)>);

impl Context {
    pub(super) fn gather(contents: &[Content], binaries: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for content in contents {
            match content {
                Content::Binary(name) => files.push((name.into(), binaries.join(name))),
                Content::Tool(name) => files.push((name.into(), tools::path(name)?)),
                Content::Host(path) => {
                    let path = PathBuf::from(path);
                    files.push((path.file_name().map(PathBuf::from).unwrap_or_default(), path));
                }
                Content::Libtorch => files.extend(libtorch()?),
                Content::OnnxRuntime => files.push(("libonnxruntime.so".into(), onnxruntime()?)),
            }
        }
        for (_, path) in &files {
            fs::metadata(path).with_context(|| missing(path))?;
        }
        Ok(Self(files))
    }

    /// Changes with the Dockerfile and with any file. A file is known by its size and time: hashing half a gigabyte would take longer than building.
    pub(super) fn fingerprint(&self, dockerfile: &str) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(dockerfile);
        for (name, path) in &self.0 {
            let data = fs::metadata(path)?;
            hash.update(format!(
                "{} {} {} {}\n",
                name.display(),
                data.len(),
                data.mtime(),
                data.mtime_nsec()
            ));
        }
        Ok(hex::encode(&hash.finalize()[..6]))
    }

    /// Lays the files out in `folder`: linked where that is possible, else copied.
    pub(super) fn lay(&self, folder: &Path) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        for (name, path) in &self.0 {
            let target = folder.join(name);
            fs::create_dir_all(target.parent().unwrap_or(folder))?;
            let source = path.canonicalize()?;
            if fs::hard_link(&source, &target).is_err() {
                fs::copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
            }
        }
        Ok(())
    }
}

fn libtorch() -> Result<Vec<(PathBuf, PathBuf)>> {
    let root = std::env::var_os("LIBTORCH")
        .context("LIBTORCH is not set; run this by make, or: export LIBTORCH=$(scripts/libtorch.sh)")?;
    let folder = PathBuf::from(root).join("lib");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        files.push((Path::new("libtorch").join(&name), folder.join(&name)));
    }
    files.sort();
    Ok(files)
}

fn onnxruntime() -> Result<PathBuf> {
    let library = std::env::var_os("ORT_DYLIB_PATH").context(
        "ORT_DYLIB_PATH is not set; run this by make, or: export ORT_DYLIB_PATH=$(scripts/onnxruntime.sh)",
    )?;
    Ok(library.into())
}

fn missing(path: &Path) -> String {
    let remedy = match path.file_name().and_then(|name| name.to_str()) {
        Some("catatonit") => "on Debian: apt-get install catatonit",
        _ => "build it first: make images",
    };
    format!("{} is missing; {remedy}", path.display())
}
