//! Objects on a file system that is mounted here.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStoreExt, path};

use crate::error::find;
use crate::storage::ObjectReader;
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

    pub(crate) async fn open(&self, uri: &ObjectUri, path: &Path) -> Result<ObjectReader, Error> {
        let place = self.place(uri, path)?;
        let result = self.store.get(&place).await.map_err(|error| convert(uri, error))?;
        let size = result.meta.size;
        let uri = uri.clone();
        let pieces = result.into_stream().map_err(move |error| convert(&uri, error)).boxed();
        Ok(ObjectReader { size, pieces })
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
    let uri = uri.to_string();
    let kind = find::<io::Error>(&error).map(io::Error::kind);
    match (&error, kind) {
        (object_store::Error::NotFound { .. }, _)
        | (_, Some(ErrorKind::NotFound | ErrorKind::IsADirectory)) => Error::NotFound { uri },
        (object_store::Error::PermissionDenied { .. }, _) | (_, Some(ErrorKind::PermissionDenied)) => {
            Error::Denied { uri, source: Some(Box::new(error)) }
        }
        _ => Error::unavailable(uri, error),
    }
}
