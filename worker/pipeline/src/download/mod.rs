//! Fetching released models from the Hugging Face Hub into folders that [`Pipeline::load`](crate::Pipeline::load) takes.
//!
//! A file is there once its checksum was the hub's; until then it is called `….part` and the next run goes on where this one ended.

mod hub;
mod plan;
mod transfer;

use std::path::{Path, PathBuf};

pub use plan::Repository;

use crate::pipeline::{INDEX, ModelFolder};
use crate::{Error, Result};
use hub::Hub;
use plan::{Wanted, wanted};

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's path in its repository.
    pub file: &'a str,
    /// Bytes of it that are there.
    pub done: u64,
    /// Bytes of it.
    pub of: u64,
}

/// Is told of each piece that arrives.
pub type Observer<'a> = dyn FnMut(Progress) + 'a;

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The model's folder.
    pub folder: PathBuf,
    /// Files that make it up.
    pub files: usize,
    /// Bytes that came over the network this time.
    pub fetched: u64,
}

/// Fetches a model and what it needs, its encoder and decoders of another model, into `models/<owner>/<name>`, each at the newest revision. The
/// hub is the one that `HF_ENDPOINT` names, the token the one in `HF_TOKEN` or that `hf auth login` has stored.
///
/// # Errors
/// [`Error::Download`] when the hub does not give a file or gives another than it says; [`Error::Io`].
pub fn download(repository: &Repository, models: &Path, observer: &mut Observer) -> Result<Report> {
    download_from(None, repository, models, observer)
}

/// The same from the hub at the address `endpoint`.
///
/// # Errors
/// As [`download`].
pub fn download_from(
    endpoint: Option<&str>,
    repository: &Repository,
    models: &Path,
    observer: &mut Observer,
) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Download { what: repository.to_string(), reason: error.to_string() })?;
    runtime.block_on(async {
        let hub = Hub::new(endpoint).map_err(|error| error.about(repository))?;
        let folder = repository.folder(models);
        let index =
            Wanted { repository: repository.clone(), file: INDEX.to_owned(), place: folder.join(INDEX) };
        let mut fetched = transfer::fetch(&hub, &index, observer).await?;
        let files = wanted(repository, &ModelFolder::open(&folder)?, models)?;
        for file in &files {
            fetched += transfer::fetch(&hub, file, observer).await?;
        }
        Ok(Report { folder, files: files.len() + 1, fetched })
    })
}
