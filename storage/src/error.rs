//! What can go wrong with an object.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

type Source = Box<dyn StdError + Send + Sync>;

/// Why an object could not be read or written.
///
/// The messages are for people and name the address; what only an operator should see (hosts, paths, protocol
/// details) is in [`source`](StdError::source).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is malformed, of a kind that is not offered, or one that must not be used.
    #[error("{uri} is refused: {why}")]
    Refused {
        /// The address.
        uri: String,
        /// What is wrong with it and what to do instead.
        why: String,
    },
    /// There is nothing at the address.
    #[error("{uri} does not exist")]
    NotFound {
        /// The address.
        uri: String,
    },
    /// The store knows the caller and says no, or does not know it.
    #[error("access to {uri} was denied; grant it to the account that reads or writes it here")]
    Denied {
        /// The address.
        uri: String,
        /// What the store answered.
        source: Option<Source>,
    },
    /// There is more at the address than may be read.
    #[error("{uri} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The address.
        uri: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Objects of this kind of address cannot do that.
    #[error("{uri}: {why}")]
    Unsupported {
        /// The address.
        uri: String,
        /// What cannot be done, and with what it can.
        why: &'static str,
    },
    /// The content does not have the checksum that the store keeps.
    #[error("the content of {uri} was damaged on its way; try again")]
    Corrupt {
        /// The address.
        uri: String,
        /// Which checksum differs.
        source: Source,
    },
    /// The store did not answer, or not in time, or has a trouble of its own.
    #[error("{uri} cannot be reached at the moment; try again later")]
    Unavailable {
        /// The address.
        uri: String,
        /// What happened.
        source: Source,
    },
    /// A download could not be written to the local disk.
    #[error("a download cannot be written to {path}")]
    Local {
        /// The local file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn refused(uri: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Refused { uri: uri.into(), why: why.into() }
    }

    pub(crate) fn unavailable(uri: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Unavailable { uri: uri.into(), source: source.into() }
    }

    /// What the crate object_store says of `uri`.
    pub(crate) fn of_object_store(uri: String, error: object_store::Error) -> Self {
        use object_store::Error as E;
        let kind = find::<io::Error>(&error).map(io::Error::kind);
        match (&error, kind) {
            (E::NotFound { .. }, _) | (_, Some(ErrorKind::NotFound | ErrorKind::IsADirectory)) => {
                Self::NotFound { uri }
            }
            (E::PermissionDenied { .. } | E::Unauthenticated { .. }, _)
            | (_, Some(ErrorKind::PermissionDenied)) => Self::Denied { uri, source: Some(Box::new(error)) },
            (E::InvalidPath { source }, _) => Self::refused(
                uri,
                format!("an object has a name that is no path, rename or move it: {source}"),
            ),
            _ => Self::unavailable(uri, error),
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Unavailable { .. })
    }
}

/// The first error of type `E` among `error` and its sources.
pub(crate) fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    error.downcast_ref().or_else(|| find(error.source()?))
}
