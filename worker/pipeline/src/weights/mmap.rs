//! A file mapped into memory, so that loading a model reads its gigabytes once and keeps no second copy.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::{Error, Result};

/// Maps the file read-only.
///
/// # Errors
/// When it cannot be opened or mapped.
#[allow(unsafe_code)]
pub(super) fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(Error::io(path))?;
    // SAFETY: model files are replaced, never changed in place; a file truncated while it is mapped would end the
    // process with SIGBUS, which is what becomes of a program whose own files are truncated.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path))
}
