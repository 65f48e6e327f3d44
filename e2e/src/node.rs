//! Node.js, which plays the page's walks and runs clients.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command::output;
use crate::paths;

/// A `PATH` on which the Node.js that `scripts/node.sh` installs comes before that of the machine, which may have none.
///
/// # Errors
/// When it cannot be installed.
pub fn path() -> Result<OsString> {
    let folder = output(&mut Command::new(paths::source().join("scripts/node.sh")))?;
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folders = [PathBuf::from(folder.trim())].into_iter().chain(std::env::split_paths(&others));
    Ok(std::env::join_paths(folders)?)
}
