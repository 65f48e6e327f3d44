//! One door to every store.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, TryStreamExt};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::buckets::Buckets;
use crate::digest::{Digester, Stored};
use crate::file::Files;
use crate::gcs::Gcs;
use crate::uri::Place;
use crate::{Error, ObjectUri};

/// What a [`Storage`] may reach.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A Cloud Storage emulator, as `host:port` or a URL; it is used in place of Google's service, without
    /// credentials.
    pub emulator_host: Option<String>,
    /// The folders that `file://` addresses may lie in; with none, they are refused.
    pub file_roots: Vec<PathBuf>,
}

/// Reads, writes, lists and deletes objects. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Storage {
    gcs: Arc<Gcs>,
    buckets: Arc<Buckets>,
    files: Arc<Files>,
}

impl Storage {
    /// A storage that reaches what `settings` say. Connects when first used.
    pub fn new(settings: Settings) -> Self {
        let emulator = settings.emulator_host.and_then(|host| emulator_url(&host));
        Self {
            gcs: Arc::new(Gcs::new(emulator.clone())),
            buckets: Arc::new(Buckets::new(emulator)),
            files: Arc::new(Files::new(settings.file_roots)),
        }
    }

    /// Writes an object whole, in place of what was there; readers see the old one or the new one.
    ///
    /// # Errors
    /// See [`Error`]; `Corrupt` when the store received something else.
    pub async fn put(&self, uri: &ObjectUri, content: Bytes, content_type: &str) -> Result<Stored, Error> {
        let stored = Stored::of(&content);
        match object(uri)? {
            Place::Gs { bucket, object } => {
                self.gcs.put(uri, (bucket, object), content, content_type, &stored).await?;
            }
            Place::File(path) => self.files.put(uri, path, content).await?,
        }
        Ok(stored)
    }

    /// Opens an object for reading in pieces.
    ///
    /// # Errors
    /// See [`Error`]; `NotFound` when there is none.
    pub async fn open(&self, uri: &ObjectUri) -> Result<ObjectReader, Error> {
        self.read(uri, None).await
    }

    /// Opens a part of an object for reading in pieces: its bytes from the start of `range` to before its end. The store keeps no checksum of that.
    ///
    /// # Errors
    /// See [`Error`]; `NotFound` when there is no such object. The object must have bytes from the start of `range` on.
    pub async fn open_range(&self, uri: &ObjectUri, range: Range<u64>) -> Result<ObjectReader, Error> {
        self.read(uri, Some(range)).await
    }

    async fn read(&self, uri: &ObjectUri, range: Option<Range<u64>>) -> Result<ObjectReader, Error> {
        match object(uri)? {
            Place::Gs { bucket, object } => self.gcs.open(uri, (bucket, object), range).await,
            Place::File(path) => self.files.open(uri, path, range).await,
        }
    }

    /// The objects below the folder `folder`, or in the bucket that it names, one by one and in no order. A folder that is not there has none.
    ///
    /// The stream ends with an error where the listing cannot be had in full. See [`Error`].
    pub fn list(&self, folder: &ObjectUri) -> Listing {
        match &folder.place {
            Place::Gs { bucket, object } => self.buckets.list(folder, bucket, object),
            Place::File(path) => self.files.list(folder, path),
        }
    }

    /// Deletes an object. A folder that is left empty in a file system goes with it.
    ///
    /// # Errors
    /// See [`Error`]; `NotFound` when there is none.
    pub async fn delete(&self, uri: &ObjectUri) -> Result<(), Error> {
        match object(uri)? {
            Place::Gs { bucket, object } => self.buckets.delete(uri, bucket, object).await,
            Place::File(path) => self.files.delete(uri, path).await,
        }
    }

    /// An `https://` address at which anybody can read the object until `expiry` has passed, at most seven days. Whether there is an object is
    /// not looked at.
    ///
    /// # Errors
    /// See [`Error`]; `Unsupported` for files, and in an emulator.
    pub async fn sign_get(&self, uri: &ObjectUri, expiry: Duration) -> Result<String, Error> {
        match object(uri)? {
            Place::Gs { bucket, object } => self.gcs.sign_get(uri, (bucket, object), expiry).await,
            Place::File(_) => Err(Error::Unsupported {
                uri: uri.to_string(),
                why: "files have no signed addresses; objects at gs:// do",
            }),
        }
    }

    /// Reads an object of at most `limit` bytes whole.
    ///
    /// # Errors
    /// See [`Error`]; `TooLarge` before more than `limit` bytes are held.
    pub async fn get(&self, uri: &ObjectUri, limit: u64) -> Result<Bytes, Error> {
        let reader = self.open(uri).await?;
        let too_large = || Error::TooLarge { uri: uri.to_string(), limit };
        if reader.size > limit {
            return Err(too_large());
        }
        let mut pieces = reader.into_stream();
        let mut content = BytesMut::new();
        while let Some(piece) = pieces.try_next().await? {
            if (content.len() + piece.len()) as u64 > limit {
                return Err(too_large());
            }
            content.extend_from_slice(&piece);
        }
        Ok(content.freeze())
    }

    /// Copies an object into a local file. The file appears under its name when it is complete.
    ///
    /// # Errors
    /// See [`Error`]; `Local` when the file cannot be written.
    pub async fn download(&self, uri: &ObjectUri, to: &Path) -> Result<Stored, Error> {
        let mut pieces = self.open(uri).await?.into_stream();
        let local = |source| Error::Local { path: to.into(), source };
        let mut part = to.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).await.map_err(local)?;
        }
        let mut file = fs::File::create(&part).await.map_err(local)?;
        let mut digester = Digester::default();
        while let Some(piece) = pieces.try_next().await? {
            digester.update(&piece);
            file.write_all(&piece).await.map_err(local)?;
        }
        file.sync_all().await.map_err(local)?;
        fs::rename(&part, to).await.map_err(local)?;
        Ok(digester.finish())
    }
}

/// `host` is `host:port` or a URL, as in the variable `STORAGE_EMULATOR_HOST` of Google's clients.
fn emulator_url(host: &str) -> Option<String> {
    match host {
        "" => None,
        url if url.contains("://") => Some(url.into()),
        host => Some(format!("http://{host}")),
    }
}

fn object(uri: &ObjectUri) -> Result<&Place, Error> {
    match &uri.place {
        Place::Gs { object, .. } if object.is_empty() => {
            Err(Error::refused(uri.to_string(), "it names a bucket, not an object in it"))
        }
        place => Ok(place),
    }
}

/// What a listing says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its address.
    pub uri: ObjectUri,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// Whether it is the part of a file that is being written, or that was when the writer ended. Buckets show only whole objects.
    pub is_unfinished: bool,
}

/// Objects, one by one.
pub type Listing = BoxStream<'static, Result<Listed, Error>>;

/// An object that is being read.
pub struct ObjectReader {
    /// The size in bytes of the whole object.
    pub size: u64,
    pub(crate) pieces: BoxStream<'static, Result<Bytes, Error>>,
}

impl ObjectReader {
    /// The content, piece by piece. It ends with an error when it is not the one that the store has a checksum of.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + 'static {
        self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooted(folder: &Path) -> (Storage, ObjectUri) {
        let storage = Storage::new(Settings { emulator_host: None, file_roots: vec![folder.join("root")] });
        (storage, format!("file://{}", folder.display()).parse().unwrap())
    }

    #[tokio::test]
    async fn a_file_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, base) = rooted(folder.path());
        let uri = base.join("root/a b/ü/model.glb").unwrap();
        let stored = storage.put(&uri, Bytes::from_static(b"abc"), "model/gltf-binary").await.unwrap();
        assert_eq!(stored, Stored::of(b"abc"));
        assert_eq!(storage.get(&uri, 3).await.unwrap(), "abc");
        let copy = folder.path().join("deep/copy");
        assert_eq!(storage.download(&uri, &copy).await.unwrap(), stored);
        assert_eq!(std::fs::read(copy).unwrap(), b"abc");
        storage.put(&uri, Bytes::from_static(b"new"), "model/gltf-binary").await.unwrap();
        assert_eq!(storage.get(&uri, 3).await.unwrap(), "new");
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_read_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, base) = rooted(folder.path());
        let uri = base.join("root/model.glb").unwrap();
        storage.put(&uri, Bytes::from_static(b"0123456789"), "model/gltf-binary").await.unwrap();
        for (range, expected) in [(0..1, "0"), (3..7, "3456"), (9..10, "9"), (8..20, "89")] {
            let reader = storage.open_range(&uri, range.clone()).await.unwrap();
            assert_eq!(reader.size, 10);
            let pieces: Vec<_> = reader.into_stream().try_collect().await.unwrap();
            assert_eq!(pieces.concat(), expected.as_bytes(), "{range:?}");
        }
        assert!(storage.open_range(&uri, 10..11).await.is_err());
        let missing = storage.open_range(&base.join("root/missing").unwrap(), 0..1).await.err().unwrap();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, base) = rooted(folder.path());
        let uri = base.join("root/model.glb").unwrap();
        storage.put(&uri, Bytes::from_static(b"abc"), "text/plain").await.unwrap();
        assert!(matches!(storage.get(&uri, 2).await, Err(Error::TooLarge { limit: 2, .. })));
        let missing = storage.get(&base.join("root/missing").unwrap(), 2).await.unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing:?}");
        let directory = storage.get(&base.join("root").unwrap(), 2).await.unwrap_err();
        assert!(matches!(directory, Error::NotFound { .. }), "{directory:?}");
    }

    #[tokio::test]
    async fn files_outside_the_roots_are_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, base) = rooted(folder.path());
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        for name in ["secret", "root2/secret", "root%2f..%2fsecret"] {
            let Ok(uri) = base.join(name) else { continue };
            assert!(matches!(storage.get(&uri, 9).await, Err(Error::Refused { .. })), "{name}");
            let write = storage.put(&uri, Bytes::new(), "text/plain").await;
            assert!(matches!(write, Err(Error::Refused { .. })), "{name}");
        }
        assert_eq!(std::fs::read(folder.path().join("secret")).unwrap(), b"s");
        let none = Storage::new(Settings::default());
        assert!(matches!(none.get(&base, 9).await, Err(Error::Refused { .. })));
    }

    async fn names(storage: &Storage, folder: &ObjectUri) -> Vec<String> {
        let listed: Vec<_> = storage.list(folder).try_collect().await.unwrap();
        let mut names: Vec<_> =
            listed.iter().map(|file| file.uri.strip_prefix(folder).unwrap().to_owned()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_listing_has_the_files_below_a_folder_and_says_which_are_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, base) = rooted(folder.path());
        let root = base.join("root").unwrap();
        assert_eq!(names(&storage, &root).await, Vec::<String>::new());
        for name in ["a/model.glb", "a/b/preview.png", "ab/c"] {
            storage.put(&root.join(name).unwrap(), Bytes::from_static(b"abc"), "text/plain").await.unwrap();
        }
        std::fs::write(folder.path().join("root/a/model.glb#1"), "a").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("root/a/up")).unwrap();
        assert_eq!(
            names(&storage, &root.join("a").unwrap()).await,
            ["b/preview.png", "model.glb", "model.glb#1"]
        );
        let listed: Vec<_> = storage.list(&root).try_collect().await.unwrap();
        let unfinished: Vec<_> = listed.iter().filter(|file| file.is_unfinished).collect();
        assert_eq!(unfinished.len(), 1);
        assert_eq!((unfinished[0].bytes, listed.len()), (1, 4));
        assert!(listed.iter().all(|file| file.modified.elapsed().unwrap() < Duration::from_secs(3600)));
        assert!(storage.list(&base).try_next().await.is_err(), "outside of the roots");
    }

    #[tokio::test]
    async fn a_deleted_file_takes_the_folders_that_it_leaves_empty_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, base) = rooted(folder.path());
        let root = base.join("root").unwrap();
        for name in ["shop/u/1/model.glb", "shop/u/2/model.glb"] {
            storage.put(&root.join(name).unwrap(), Bytes::from_static(b"abc"), "text/plain").await.unwrap();
        }
        storage.delete(&root.join("shop/u/1/model.glb").unwrap()).await.unwrap();
        assert!(!folder.path().join("root/shop/u/1").exists());
        let gone = storage.delete(&root.join("shop/u/1/model.glb").unwrap()).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
        storage.delete(&root.join("shop/u/2/model.glb").unwrap()).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("root")).unwrap().count(), 0);
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        assert!(matches!(storage.delete(&base.join("secret").unwrap()).await, Err(Error::Refused { .. })));
    }

    #[tokio::test]
    async fn a_file_has_no_signed_address() {
        let storage = Storage::new(Settings::default());
        let uri = "file:///out/model.glb".parse().unwrap();
        let signed = storage.sign_get(&uri, Duration::from_secs(60)).await;
        assert!(matches!(signed, Err(Error::Unsupported { .. })), "{signed:?}");
    }

    #[test]
    fn an_emulator_is_named_with_or_without_a_scheme() {
        assert_eq!(emulator_url("localhost:4443").as_deref(), Some("http://localhost:4443"));
        assert_eq!(emulator_url("http://gcs:80").as_deref(), Some("http://gcs:80"));
        assert_eq!(emulator_url(""), None);
    }

    #[tokio::test]
    async fn a_bucket_is_no_object() {
        let storage = Storage::new(Settings::default());
        let bucket = "gs://bucket".parse().unwrap();
        assert!(matches!(storage.get(&bucket, 1).await, Err(Error::Refused { .. })));
    }
}
