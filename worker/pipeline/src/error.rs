//! The one error type of the library. Its messages are written for the person who asked for the asset.

use std::path::PathBuf;

use tch::TchError;

use crate::weights::WeightsError;

/// `Result` with this library's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why an asset could not be made. The variants are what a caller may want to react to differently.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image or an option cannot be used, however often it is tried. The message says what to change.
    #[error("{0}")]
    InvalidInput(String),
    /// The model generated nothing: no voxel or no surface. Another seed or image may help.
    #[error(
        "the model found no object ({0}); try another seed or prompt, or an image that shows one whole object"
    )]
    Empty(&'static str),
    /// The model folder lacks something or holds something that this program cannot run.
    #[error("model {path}: {message}", path = path.display())]
    Model {
        /// The file or folder that is wrong.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        message: String,
    },
    /// The tensors in a file are not those that its configuration asks for.
    #[error(transparent)]
    Weights(#[from] Box<WeightsError>),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason the operating system gives.
        source: std::io::Error,
    },
    /// The device that was asked for is not there.
    #[error("{0}")]
    Device(String),
    /// The memory of the device, or what of it may be used, does not suffice.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// A model gave infinities or no numbers at all: its weights are damaged, or need more than half precision.
    #[error("{0} gave numbers that are not finite; load its weights again, or compute in f32")]
    NotFinite(&'static str),
    /// A file could not be fetched.
    #[error("{what} could not be downloaded: {reason}")]
    Download {
        /// The file or repository.
        what: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// What was made cannot be processed or written: a defect of this program or of the model.
    #[error("{0}")]
    Asset(String),
    /// libtorch refused an operation: a defect of this program.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl From<trellis_asset::Error> for Error {
    fn from(error: trellis_asset::Error) -> Self {
        use trellis_asset::Error as Asset;
        match error {
            Asset::Empty(what) => Self::Empty(what),
            Asset::InvalidInput(message) => Self::InvalidInput(message),
            other => Self::Asset(other.to_string()),
        }
    }
}

impl From<TchError> for Error {
    /// Keeps the first line of libtorch's message; the rest is a C++ stack trace.
    fn from(error: TchError) -> Self {
        let text = error.to_string();
        let text = text.strip_prefix("Internal torch error: ").unwrap_or(&text);
        let line = text.lines().next().unwrap_or_default().to_owned();
        // cuBLAS and cuDNN have messages of their own.
        if ["out of memory", "can't allocate memory", "_ALLOC_FAILED"].iter().any(|sign| line.contains(sign))
        {
            // After what is free libtorch lists processes and settings of its allocator.
            let told = line.split_inclusive(" is free.").next().unwrap_or_default();
            Self::OutOfMemory(format!("{told} Make less at once, or keep other programs off the device"))
        } else {
            Self::Torch(line)
        }
    }
}

impl Error {
    /// An [`Error::Io`] about `path`, for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// An [`Error::Model`] about `path`.
    pub fn model(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Model { path: path.into(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_allocation_is_told_apart_from_a_defect() {
        let cuda = TchError::Torch("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.19 GiB of which 1.50 GiB is free. Process 1985 has 77.00 GiB memory in use.\nException raised from".into());
        let cudnn = TchError::Torch("cuDNN error: CUDNN_STATUS_ALLOC_FAILED\nframe #0".into());
        let cpu = TchError::Torch("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried".into());
        let shape = TchError::Torch("mat1 and mat2 shapes cannot be multiplied\nframe #0".into());
        assert_eq!(
            Error::from(cuda).to_string(),
            "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.19 GiB of which 1.50 GiB is free. \
             Make less at once, or keep other programs off the device"
        );
        assert!(matches!(Error::from(cudnn), Error::OutOfMemory(_)));
        assert!(matches!(Error::from(cpu), Error::OutOfMemory(_)));
        assert_eq!(Error::from(shape).to_string(), "libtorch: mat1 and mat2 shapes cannot be multiplied");
    }
}
