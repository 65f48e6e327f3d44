//! Objects on a file system that is mounted here.

use std::future::ready;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::{GetOptions, GetRange, ObjectStore as _, ObjectStoreExt, path};
use tokio::fs;
use tokio::sync::mpsc;
use walkdir::{DirEntry, WalkDir};

use crate::storage::{Listed, Listing, ObjectReader};
use crate::{Error, ObjectUri};

/// Files below certain folders. A job names its own input and output, so it must not reach beyond them.
#[derive(Debug)]
pub(crate) struct Files {
    roots: Vec<PathBuf>,
    store: LocalFileSystem,
}

impl Files {
    pub(crate) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, store: LocalFileSystem::new() }
    }

    pub(crate) async fn put(&self, uri: &ObjectUri, path: &Path, content: Bytes) -> Result<(), Error> {
        let place = self.place(uri, path)?;
        self.store.put(&place, content.into()).await.map_err(|error| convert(uri, error))?;
        Ok(())
    }

    /// Opens a file, or the bytes of it that `range` names.
    pub(crate) async fn open(
        &self,
        uri: &ObjectUri,
        path: &Path,
        range: Option<Range<u64>>,
    ) -> Result<ObjectReader, Error> {
        let place = self.place(uri, path)?;
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let result = self.store.get_opts(&place, options).await.map_err(|error| convert(uri, error))?;
        let size = result.meta.size;
        let uri = uri.clone();
        let pieces = result.into_stream().map_err(move |error| convert(&uri, error)).boxed();
        Ok(ObjectReader { size, pieces })
    }

    /// The files below the folder `path`, one by one.
    pub(crate) fn list(&self, uri: &ObjectUri, path: &Path) -> Listing {
        if let Err(error) = self.place(uri, path) {
            return stream::once(ready(Err(error))).boxed();
        }
        let files = files_below(path, uri);
        let (sender, receiver) = mpsc::channel(64);
        // It ends when nobody listens any more.
        tokio::task::spawn_blocking(move || {
            files.map(|file| sender.blocking_send(file)).find(Result::is_err)
        });
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed()
    }

    /// Deletes a file, and the folders that it leaves empty.
    pub(crate) async fn delete(&self, uri: &ObjectUri, path: &Path) -> Result<(), Error> {
        self.place(uri, path)?;
        fs::remove_file(path).await.map_err(|error| of_io(uri, error))?;
        let is_inside =
            |folder: &&Path| self.roots.iter().any(|root| folder.starts_with(root) && folder != root);
        for folder in path.ancestors().skip(1).take_while(is_inside) {
            // One that is not empty, or that somebody else has removed, ends the way up.
            if fs::remove_dir(folder).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn place(&self, uri: &ObjectUri, path: &Path) -> Result<path::Path, Error> {
        if !self.roots.iter().any(|root| path.starts_with(root)) {
            let why = match self.roots.as_slice() {
                [] => "file:// addresses are not offered here".into(),
                roots => format!("only files below {} may be used", list(roots)),
            };
            return Err(Error::refused(uri.to_string(), why));
        }
        path::Path::from_absolute_path(path)
            .map_err(|error| Error::refused(uri.to_string(), error.to_string()))
    }
}

fn list(roots: &[PathBuf]) -> String {
    roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(" and ")
}

fn convert(uri: &ObjectUri, error: object_store::Error) -> Error {
    Error::of_object_store(uri.to_string(), error)
}

fn of_io(uri: &ObjectUri, source: io::Error) -> Error {
    let uri = uri.to_string();
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory => Error::NotFound { uri },
        ErrorKind::PermissionDenied => Error::Denied { uri, source: Some(Box::new(source)) },
        _ => Error::unavailable(uri, source),
    }
}

/// The files below `folder`, but for symbolic links, which may lead out of it.
fn files_below(folder: &Path, uri: &ObjectUri) -> impl Iterator<Item = Result<Listed, Error>> + use<> {
    let uri = uri.clone();
    WalkDir::new(folder).into_iter().filter_map(move |entry| {
        let listed = entry.and_then(|entry| match entry.file_type().is_file() {
            true => listed(&entry).map(Some),
            false => Ok(None),
        });
        match listed.map_err(io::Error::from) {
            Ok(listed) => listed.map(Ok),
            // Gone meanwhile, or never there.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(of_io(&uri, error))),
        }
    })
}

fn listed(entry: &DirEntry) -> Result<Listed, walkdir::Error> {
    let metadata = entry.metadata()?;
    Ok(Listed {
        uri: ObjectUri::of_file(entry.path()),
        bytes: metadata.len(),
        // A file system that keeps no times: nothing is known to be old.
        modified: metadata.modified().unwrap_or_else(|_| SystemTime::now()),
        is_unfinished: is_unfinished(entry.file_name().as_encoded_bytes()),
    })
}

/// The crate object_store writes `name` as `name#1`, and renames it in the end.
fn is_unfinished(name: &[u8]) -> bool {
    let mut parts = name.rsplitn(2, |byte| *byte == b'#');
    let number = parts.next().unwrap_or_default();
    parts.next().is_some() && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}
