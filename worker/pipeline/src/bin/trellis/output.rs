//! What is checked of files to write before anything is computed: a mistyped name should not cost minutes.

use std::path::Path;

use trellis::{Error, Result};

/// Fails where the folder of a file is not there, or the file would take a folder's place.
pub(crate) fn check(path: &Path) -> Result<()> {
    let refuse = |why: String| Err(Error::InvalidInput(format!("{}: {why}", path.display())));
    if path.is_dir() {
        return refuse("is a folder; name a file in it".to_owned());
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => {
            refuse(format!("the folder {} is not there; make it first", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Whether a file's name ends with a dot and this extension, in whatever case.
pub(crate) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// Fails where the name of a picture promises another format than the one it is written in.
pub(crate) fn check_picture(path: &Path, extension: &str, option: &str) -> Result<()> {
    if has_extension(path, extension) {
        return check(path);
    }
    Err(Error::InvalidInput(format!("{}: {option} writes .{extension} files; name one", path.display())))
}

/// Reads the share of faces that simplification removes.
pub(crate) fn share(text: &str) -> std::result::Result<f32, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "the share of faces to remove is at least 0 and below 1, such as 0.95".to_owned())
}

/// Reads the side of a texture; 0 stands for none.
pub(crate) fn texture_size(text: &str) -> std::result::Result<u32, String> {
    let size = text.parse().ok().filter(|size| *size == 0 || (16..=8192).contains(size));
    size.ok_or_else(|| "a texture has 16 to 8192 texels a side, or 0 for none".to_owned())
}
