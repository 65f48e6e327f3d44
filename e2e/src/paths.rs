//! Where things lie: the source tree, and the cache outside it.

use std::path::{Path, PathBuf};

/// The root of the source tree.
pub fn source() -> &'static Path {
    Path::new(env!("TRELLIS_SOURCES"))
}

/// The folder for everything that is built or downloaded once and kept:
/// `$TRELLIS_CACHE`, else `trellis3d` under `$XDG_CACHE_HOME` or `~/.cache`.
pub fn cache() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("TRELLIS_CACHE").unwrap_or_else(|| {
        let home = || set("HOME").unwrap_or_else(|| PathBuf::from("/root"));
        set("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache")).join("trellis3d")
    })
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| source().join("target"), PathBuf::from)
}
