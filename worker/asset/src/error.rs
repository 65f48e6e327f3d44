//! The error type of this crate. Its messages are written for the person who wants the asset.

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why something cannot be done with an asset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option or a file cannot be used, however often it is tried. The message says what to change.
    #[error("{0}")]
    InvalidInput(String),
    /// There is nothing to see in the asset.
    #[error("the asset is empty: {0}")]
    Empty(&'static str),
    /// The asset is damaged: a defect of what made it.
    #[error("the asset is damaged: {0}")]
    Damaged(String),
}
