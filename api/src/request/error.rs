//! Why a request cannot be read.

use super::body::pointer;
use crate::files::FileError;
use crate::problem::FieldError;

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The `Content-Type` is none of those taken.
    #[error("Send the body as {0}.")]
    MediaType(&'static str),
    /// The body is larger than the limit.
    #[error("The body is larger than this service takes.")]
    TooLarge,
    /// The body trickles in.
    #[error("The body took longer than {0} s to arrive. Send smaller files, or give their addresses.")]
    TooSlow(u64),
    /// The body is no JSON, or no form.
    #[error("The body cannot be parsed: {0}")]
    Malformed(String),
    /// A field is unknown, missing or of the wrong type.
    #[error("{}", .0.detail)]
    Field(FieldError),
    /// A file that came with the request cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A query parameter or a header is wrong.
    #[error("{0}")]
    Parameter(String),
}

impl RequestError {
    /// What is wrong with the field `path` of the request.
    pub(super) fn field(path: &[&str], detail: impl Into<String>) -> Self {
        Self::at(pointer(path), detail)
    }

    /// What is wrong with the field at a JSON pointer.
    pub(super) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Field(FieldError { pointer: pointer.into(), detail: detail.into() })
    }
}
