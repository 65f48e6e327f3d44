//! One file from the hub to the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::hub::{Content, Hub};
use super::plan::Wanted;
use super::{Observer, Progress};
use crate::{Error, Result};

/// How often a connection may break without a byte having come through.
const PATIENCE: usize = 5;
/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// Fetches a file unless it is there; the result is how many bytes that took.
pub(super) async fn fetch(hub: &Hub, wanted: &Wanted, observer: &mut Observer<'_>) -> Result<u64> {
    let what = format!("{} of {}", wanted.file, wanted.repository);
    let content = hub.content(wanted).await.map_err(|error| error.about(&what))?;
    if is_whole(&wanted.place, &content)? {
        observer(Progress { file: &wanted.file, done: content.bytes, of: content.bytes });
        return Ok(0);
    }
    if let Some(parent) = wanted.place.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    let part = PathBuf::from(format!("{}.part", wanted.place.display()));
    let fetched = fetch_rest(hub, wanted, &content, &part, observer).await?;
    if !is_whole(&part, &content)? {
        fs::remove_file(&part).map_err(Error::io(&part))?;
        let reason =
            "what came is not what the hub says it holds (its sha256 differs), and was removed; run it again";
        return Err(Error::Download { what, reason: reason.to_owned() });
    }
    fs::rename(&part, &wanted.place).map_err(Error::io(&wanted.place))?;
    Ok(fetched)
}

/// Fetches what `part` lacks, connecting again while that gets further.
async fn fetch_rest(
    hub: &Hub,
    wanted: &Wanted,
    content: &Content,
    part: &Path,
    observer: &mut Observer<'_>,
) -> Result<u64> {
    let mut file = OpenOptions::new().create(true).append(true).open(part).map_err(Error::io(part))?;
    let start = file.metadata().map_err(Error::io(part))?.len();
    let (mut done, mut failures) = (start, 0);
    if done > content.bytes {
        file.set_len(0).map_err(Error::io(part))?;
        done = 0;
    }
    let resumed_at = done;
    while done < content.bytes {
        let before = done;
        let take = |piece: &[u8]| {
            file.write_all(piece).map_err(Error::io(part))?;
            done += piece.len() as u64;
            observer(Progress { file: &wanted.file, done, of: content.bytes });
            Ok(())
        };
        let broken = match hub.read(wanted, before, take).await {
            Ok(written) => {
                written?;
                None
            }
            Err(error) => Some(error),
        };
        failures = if done > before { 0 } else { failures + 1 };
        if failures >= PATIENCE {
            let what = format!("{} of {}", wanted.file, wanted.repository);
            let reason = broken.map_or_else(|| "the hub sends nothing".to_owned(), |error| error.0);
            let reason =
                format!("{reason} ({done} of {} bytes are there; run it again to go on)", content.bytes);
            return Err(Error::Download { what, reason });
        }
    }
    file.sync_all().map_err(Error::io(part))?;
    Ok(done - resumed_at)
}

fn sha256(file: &mut File) -> io::Result<String> {
    let (mut sum, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(sum.finalize())),
            read => sum.update(&piece[..read]),
        }
    }
}

/// Whether the file holds that content.
fn is_whole(path: &Path, content: &Content) -> Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(path)(error)),
    };
    if file.metadata().map_err(Error::io(path))?.len() != content.bytes {
        return Ok(false);
    }
    let Some(expected) = &content.sha256 else { return Ok(true) };
    Ok(sha256(&mut file).map_err(Error::io(path))? == *expected)
}
