//! The files of requests: fetched where a URL names them, checked, and stored where the workers find them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use trellis_storage::{HttpsReader, ObjectUri, Storage};

use super::JobId;
use crate::auth::Caller;
use crate::files::{self, Checked, Fault, FileError, FileKind};
use crate::request::{File, FileSource, Input};

/// How many images are decoded at a time. One may take 700 MiB: a progressive JPEG of the largest size keeps the coefficients of
/// all its pixels beside them, and its decoder heeds no limit. Two of those are more than a pod of this service has.
const DECODERS: usize = 1;

/// How long the files of a request may take to be fetched, all together.
const FETCH_TIME: Duration = Duration::from_secs(30);

/// How long an image may take to be decoded. The largest take a few seconds.
const DECODE_TIME: Duration = Duration::from_secs(20);

/// Why the files of a request cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// A URL leads to no file that may be fetched.
    #[error("{source}")]
    Fetch {
        /// Where the request has it: a JSON pointer.
        pointer: String,
        /// What it should be.
        kind: FileKind,
        /// Why it cannot be fetched.
        source: trellis_storage::Error,
    },
    /// The URLs lead to servers that are too slow.
    #[error("The files did not arrive within {} s. Send them with the request.", FETCH_TIME.as_secs())]
    Slow {
        /// The one that was being fetched: a JSON pointer.
        pointer: String,
        /// What it should be.
        kind: FileKind,
    },
    /// What came cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The input storage does not take it.
    #[error(transparent)]
    Store(trellis_storage::Error),
}

/// Where inputs come from and go to.
#[derive(Clone)]
pub(crate) struct Inputs {
    storage: Storage,
    https: HttpsReader,
    base: ObjectUri,
    max_bytes: usize,
    decoders: Arc<Semaphore>,
}

impl Inputs {
    /// Inputs of at most `max_bytes` a request, stored below `base`.
    #[must_use]
    pub(crate) fn new(storage: Storage, https: HttpsReader, base: ObjectUri, max_bytes: usize) -> Self {
        Self { storage, https, base, max_bytes, decoders: Arc::new(Semaphore::new(DECODERS)) }
    }

    /// Brings the files of `input` to the storage and says where they are, in their order. Nothing is stored unless all can be used.
    pub(crate) async fn store(
        &self,
        caller: &Caller,
        id: &JobId,
        input: &Input,
    ) -> Result<Vec<String>, InputError> {
        let (kind, files) = input.files();
        let deadline = Instant::now() + FETCH_TIME;
        let (mut checked, mut left) = (Vec::with_capacity(files.len()), self.max_bytes);
        for file in files {
            let bytes = self.bytes(kind, file, left, deadline).await?;
            let refused = |fault| FileError { pointer: file.pointer.clone(), kind, fault };
            let too_large = || refused(Fault::TooLarge { limit: self.max_bytes });
            left = left.checked_sub(bytes.len()).ok_or_else(too_large)?;
            checked.push(self.check(kind, bytes).await.map_err(refused)?);
        }
        try_join_all(checked.into_iter().map(|file| self.put(caller, id, kind, file))).await
    }

    async fn bytes(
        &self,
        kind: FileKind,
        file: &File,
        limit: usize,
        deadline: Instant,
    ) -> Result<Bytes, InputError> {
        let pointer = || file.pointer.clone();
        let url = match &file.source {
            FileSource::Bytes(bytes) => return Ok(bytes.clone()),
            FileSource::Url(url) => url,
        };
        match timeout_at(deadline, self.https.get(url, limit as u64)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(trellis_storage::Error::TooLarge { .. })) => {
                let fault = Fault::TooLarge { limit: self.max_bytes };
                Err(FileError { pointer: pointer(), kind, fault }.into())
            }
            Ok(Err(source)) => Err(InputError::Fetch { pointer: pointer(), kind, source }),
            Err(_) => Err(InputError::Slow { pointer: pointer(), kind }),
        }
    }

    async fn check(&self, kind: FileKind, bytes: Bytes) -> Result<Checked, Fault> {
        let permit = self.decoders.clone().acquire_owned().await;
        // The decoder keeps its permit to its end: it goes on when the client goes away, or has heard that it takes too long.
        let check = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            files::check(kind, bytes)
        });
        match timeout(DECODE_TIME, check).await {
            Ok(Ok(checked)) => checked,
            // A decoder that panics does so because of the file. The panic hook has logged where.
            Ok(Err(_)) => Err(Fault::Damaged("its decoder failed".to_owned())),
            Err(_) => Err(Fault::Damaged(format!("it takes more than {} s", DECODE_TIME.as_secs()))),
        }
    }

    async fn put(
        &self,
        caller: &Caller,
        id: &JobId,
        kind: FileKind,
        file: Checked,
    ) -> Result<String, InputError> {
        let uri = self.base.join(&object_name(caller, id, kind, &file)).map_err(InputError::Store)?;
        self.storage.put(&uri, file.bytes, file.media_type).await.map_err(InputError::Store)?;
        Ok(uri.to_string())
    }
}

/// Named by its content too: two requests with one Idempotency-Key and different files, on their way at the same time, must
/// not overwrite each other's.
fn object_name(caller: &Caller, id: &JobId, kind: FileKind, file: &Checked) -> String {
    let digest = hex::encode(Sha256::digest(&file.bytes));
    let short = digest.get(..16).unwrap_or(&digest);
    format!("{}/{}/{kind}-{short}.{}", caller.namespace, id.as_str(), file.extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::mpsc;

    /// The only thread for decoders is kept busy, so that what the client left behind has not run yet.
    #[test]
    fn a_client_that_goes_away_does_not_free_the_place_of_its_decoder() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (free, busy) = mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || busy.recv());
            let storage = Storage::new(trellis_storage::Settings::default());
            let base = "gs://bucket/inputs".parse().unwrap();
            let inputs = Inputs::new(storage, HttpsReader::new().unwrap(), base, 1000);
            {
                let mut check = pin!(inputs.check(FileKind::Image, Bytes::from_static(b"no image")));
                assert!(futures::poll!(check.as_mut()).is_pending());
            }
            assert_eq!(inputs.decoders.available_permits(), DECODERS - 1);
            drop(free);
            let _all = inputs.decoders.acquire_many(DECODERS as u32).await.unwrap();
        });
    }
}
