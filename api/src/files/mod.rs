//! The files that assets are made from, as clients send them: taken out of base64, and looked at before anything is created.

mod base64;
mod image;
mod mesh;

use std::fmt;

use bytes::Bytes;

pub(crate) use base64::from_base64;

/// Of which kind a file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// PNG, JPEG or WebP.
    Image,
    /// GLB, OBJ, PLY or STL.
    Mesh,
}

impl FileKind {
    /// Both of them.
    pub(crate) const ALL: [Self; 2] = [Self::Image, Self::Mesh];

    /// The extensions that [`Checked`] files of this kind have.
    #[must_use]
    pub(crate) fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["png", "jpg", "webp"],
            Self::Mesh => &["glb", "obj", "ply", "stl", "zip"],
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Image => "image",
            Self::Mesh => "mesh",
        })
    }
}

/// Why a file of a request cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("The {kind} {fault}")]
pub(crate) struct FileError {
    /// Where the request has it: a JSON pointer.
    pub pointer: String,
    /// What it should be.
    pub kind: FileKind,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a file; as the end of a sentence about it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The text is not base64.
    #[error(
        "is not valid base64: {0}. Send the file's bytes in base64, with or without `data:image/png;base64,` before them."
    )]
    NotBase64(String),
    /// No bytes at all.
    #[error("is empty.")]
    Empty,
    /// More bytes than the settings allow.
    #[error("is too large: all files of a request together may have {limit} bytes. Send smaller ones.")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes begin like none of the accepted formats.
    #[error("is not a {0} file.")]
    UnknownFormat(&'static str),
    /// Too few or too many pixels.
    #[error("has {width} x {height} pixels; each side must have {} to {}.", image::MIN_SIDE, image::MAX_SIDE)]
    Dimensions {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A JPEG whose pixels come in more passes than any program writes, each of which takes its time.
    #[error("has {0} scans, which take too long to decode. Save it as a usual JPEG file.")]
    Scans(usize),
    /// The file ends early or contradicts itself.
    #[error("cannot be decoded: {0}. The file is probably cut short or damaged.")]
    Damaged(String),
    /// An image file has more than so many MiB of other things.
    #[error("holds more than {0} MiB beside its pixels. Send it without comments.")]
    Extras(u64),
    /// A mesh without triangles.
    #[error("has no faces. A cloud of points or of Gaussians has no surface to change.")]
    NoFaces,
}

/// A file that was looked at and found whole.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    /// The file as it was sent.
    pub bytes: Bytes,
    /// The file name extension of its format, such as `png`.
    pub extension: &'static str,
    /// The media type of its format.
    pub media_type: &'static str,
}

/// Checks `bytes`. Takes CPU time in proportion to the pixels: call it off the async threads.
pub(crate) fn check(kind: FileKind, bytes: Bytes) -> Result<Checked, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    let (extension, media_type) = match kind {
        FileKind::Image => image::check(&bytes)?,
        FileKind::Mesh => mesh::check(&bytes)?,
    };
    Ok(Checked { bytes, extension, media_type })
}
