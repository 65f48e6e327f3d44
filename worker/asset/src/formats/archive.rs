//! ZIP archives whose bytes depend on their files alone: no clock, no user.

use std::io::{Cursor, Read, Write};

use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

use super::Format;
use super::check::damaged;
use crate::{Error, Result};

/// Bytes that are read from one file of an archive at most, whatever the archive says.
const LARGEST: u64 = 1 << 30;

/// How the files of an archive are stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Storage {
    /// Deflated.
    Compressed,
    /// As they are, each at a multiple of 64 bytes, as USDZ wants them.
    Aligned,
}

/// An archive of named files.
pub(super) fn write(files: &[(String, Vec<u8>)], storage: Storage) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::InvalidInput(format!("the archive could not be written: {error}"))
    };
    let options = SimpleFileOptions::DEFAULT.unix_permissions(0o644);
    let options = match storage {
        Storage::Compressed => options.compression_method(CompressionMethod::Deflated),
        Storage::Aligned => options.compression_method(CompressionMethod::Stored).with_alignment(64),
    };
    let mut archive = ZipWriter::new(Cursor::new(vec![]));
    for (name, bytes) in files {
        archive.start_file(name.as_str(), options).map_err(|error| failed(&error))?;
        archive.write_all(bytes).map_err(|error| failed(&error))?;
    }
    Ok(archive.finish().map_err(|error| failed(&error))?.into_inner())
}

/// The files of an archive.
pub(super) struct Files<'a> {
    format: Format,
    archive: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Files<'a> {
    pub(super) fn open(bytes: &'a [u8], format: Format) -> Result<Self> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(format, error))?;
        Ok(Self { format, archive })
    }

    /// The name of the first file with this extension.
    pub(super) fn with_extension(&self, extension: &str) -> Option<String> {
        let ends = |name: &std::borrow::Cow<'_, str>| {
            name.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case(extension))
        };
        (0..self.archive.len())
            .filter_map(|index| self.archive.name_for_index(index)?.ok())
            .find(ends)
            .map(|name| name.into_owned())
    }

    /// The bytes of a file.
    pub(super) fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let format = self.format;
        let file =
            self.archive.by_name(name).map_err(|error| damaged(format, format_args!("{name}: {error}")))?;
        let mut bytes = vec![];
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| damaged(format, format_args!("{name}: {error}")))?;
        if bytes.len() as u64 > LARGEST {
            return Err(damaged(format, format_args!("{name} unpacks to more than 1 GiB")));
        }
        Ok(bytes)
    }
}
