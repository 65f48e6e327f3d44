//! All files of a job in one: a ZIP archive that is made while it is sent.

use std::io;

use async_zip::base::write::ZipFileWriter;
use async_zip::{Compression, ZipDateTime, ZipDateTimeBuilder, ZipEntryBuilder};
use bytes::Bytes;
use futures::{AsyncWriteExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;
use tokio::io::DuplexStream;
use tokio_util::io::ReaderStream;
use trellis_storage::{ObjectUri, Storage};

/// How much of an archive is made before it is sent.
const AHEAD: usize = 64 << 10;
/// From this size on an archive needs the format's extension for large ones, which not every program reads.
const LARGE: u64 = (u32::MAX as u64) - (1 << 20);
const READABLE: u16 = 0o644;

/// A file of an archive.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its name there.
    pub name: String,
    /// Where its content is.
    pub uri: ObjectUri,
    /// How large that is.
    pub bytes: u64,
}

/// Why an archive ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ZipError {
    /// The storage does not give a file.
    #[error(transparent)]
    Storage(#[from] trellis_storage::Error),
    /// The archive cannot be written, such as when the client went away.
    #[error(transparent)]
    Write(#[from] async_zip::error::ZipError),
    /// The same.
    #[error(transparent)]
    Send(#[from] io::Error),
}

/// An archive of `members` as they lie in the storage, not compressed: what is in them is already. All of them are of the time `modified`.
pub(crate) fn archive(
    storage: Storage,
    members: Vec<Member>,
    modified: Timestamp,
) -> impl Stream<Item = Result<Bytes, ZipError>> + Send + 'static {
    let (writer, reader) = tokio::io::duplex(AHEAD);
    let written = tokio::spawn(write(storage, members, modified, writer));
    // An archive without its end must not pass for a whole one.
    let outcome = stream::once(written).filter_map(async |outcome| match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(Err(error)),
        Err(panicked) => Some(Err(io::Error::other(panicked).into())),
    });
    ReaderStream::new(reader).map_err(ZipError::from).chain(outcome)
}

async fn write(
    storage: Storage,
    members: Vec<Member>,
    modified: Timestamp,
    to: DuplexStream,
) -> Result<(), ZipError> {
    let mut archive = ZipFileWriter::with_tokio(to);
    if members.iter().map(|member| member.bytes).sum::<u64>() < LARGE {
        archive = archive.force_no_zip64();
    }
    for member in members {
        let entry = ZipEntryBuilder::new(member.name.into(), Compression::Stored)
            .last_modification_date(date(modified))
            .unix_permissions(READABLE);
        let mut entry = archive.write_entry_stream(entry).await?;
        let mut pieces = storage.open(&member.uri).await?.into_stream();
        while let Some(piece) = pieces.try_next().await? {
            entry.write_all(&piece).await?;
        }
        entry.close().await?;
    }
    archive.close().await?;
    Ok(())
}

fn date(time: Timestamp) -> ZipDateTime {
    let time = time.to_zoned(TimeZone::UTC);
    let of = |part: i8| u32::try_from(part).unwrap_or_default();
    ZipDateTimeBuilder::new()
        .year(time.year().into())
        .month(of(time.month()))
        .day(of(time.day()))
        .hour(of(time.hour()))
        .minute(of(time.minute()))
        .second(of(time.second()))
        .build()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use trellis_storage::Settings;

    use super::*;

    fn storage(folder: &std::path::Path) -> Storage {
        Storage::new(Settings { emulator_host: None, file_roots: vec![folder.to_owned()] })
    }

    fn member(folder: &std::path::Path, name: &str) -> Member {
        let uri = format!("file://{}/{name}", folder.display()).parse().unwrap();
        Member { name: name.into(), uri, bytes: 1 }
    }

    #[tokio::test]
    async fn an_archive_holds_the_files_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let large: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let files = [("model.glb", large), ("preview.png", b"png".to_vec()), ("empty", Vec::new())];
        for (name, content) in &files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let members = files.iter().map(|(name, _)| member(folder.path(), name)).collect();
        let time = "2026-11-24T07:00:06Z".parse().unwrap();
        let pieces: Vec<_> = archive(storage(folder.path()), members, time).try_collect().await.unwrap();
        let mut archive = ::zip::ZipArchive::new(Cursor::new(pieces.concat())).unwrap();
        assert_eq!(archive.len(), files.len());
        for (name, content) in files {
            let mut entry = archive.by_name(name).unwrap();
            let modified = entry.last_modified().unwrap();
            assert_eq!((modified.year(), modified.month(), modified.day()), (2026, 11, 24));
            let mut read = Vec::new();
            entry.read_to_end(&mut read).unwrap();
            assert!(read == content, "{name} differs");
        }
    }

    #[tokio::test]
    async fn an_archive_that_lacks_a_file_ends_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.glb"), "glTF").unwrap();
        let members = ["model.glb", "missing"].map(|name| member(folder.path(), name)).to_vec();
        let pieces: Vec<_> = archive(storage(folder.path()), members, Timestamp::UNIX_EPOCH).collect().await;
        assert!(matches!(pieces.last(), Some(Err(ZipError::Storage(_)))), "{pieces:?}");
    }
}
