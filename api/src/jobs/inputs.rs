//! The images of jobs: fetched where a URL names them, checked, and stored where the workers find them.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use trellis_storage::{HttpsReader, ObjectUri, Storage};

use super::JobId;
use crate::auth::Caller;
use crate::images::{Image, ImageError};
use crate::request::Input;

/// How many images are decoded at a time. One may take 700 MiB: a progressive JPEG of the largest size keeps the coefficients of
/// all its pixels beside them, and its decoder heeds no limit. Two of those are more than a pod of this service has.
const DECODERS: usize = 1;

/// Why an input cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The URL leads to no image that may be fetched.
    #[error(transparent)]
    Fetch(trellis_storage::Error),
    /// What came is no image that can be used.
    #[error(transparent)]
    Image(#[from] ImageError),
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
    /// Inputs of at most `max_bytes`, stored below `base`.
    #[must_use]
    pub(crate) fn new(storage: Storage, https: HttpsReader, base: ObjectUri, max_bytes: usize) -> Self {
        Self { storage, https, base, max_bytes, decoders: Arc::new(Semaphore::new(DECODERS)) }
    }

    /// Brings the image of `input` to the storage and says where it is; `None` for words, which need none.
    pub(crate) async fn store(
        &self,
        caller: &Caller,
        id: &JobId,
        input: &Input,
    ) -> Result<Option<ObjectUri>, InputError> {
        let bytes = match input {
            Input::Text(_) => return Ok(None),
            Input::ImageFile(bytes) => bytes.clone(),
            Input::ImageUrl(url) => {
                self.https.get(url, self.max_bytes as u64).await.map_err(InputError::Fetch)?
            }
        };
        let image = self.check(bytes).await?;
        let uri = self.base.join(&object_name(caller, id, &image)).map_err(InputError::Store)?;
        self.storage.put(&uri, image.bytes, image.media_type).await.map_err(InputError::Store)?;
        Ok(Some(uri))
    }

    async fn check(&self, bytes: Bytes) -> Result<Image, ImageError> {
        let permit = self.decoders.clone().acquire_owned().await;
        let max_bytes = self.max_bytes;
        // The decoder keeps its permit to its end: it goes on when the client goes away.
        let check = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            Image::check(bytes, max_bytes)
        });
        // A decoder that panics does so because of the file. The panic hook has logged where.
        check.await.unwrap_or_else(|_| Err(ImageError::Damaged("its decoder failed".to_owned())))
    }
}

/// Named by its content too: two requests with one Idempotency-Key and different images, on their way at the same time, must
/// not overwrite each other's.
fn object_name(caller: &Caller, id: &JobId, image: &Image) -> String {
    let digest = hex::encode(Sha256::digest(&image.bytes));
    let short = digest.get(..16).unwrap_or(&digest);
    format!("{}/{}/image-{short}.{}", caller.namespace, id.as_str(), image.extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::mpsc;

    /// The only thread for decoders is kept busy, so that what the client left behind has not run yet.
    #[test]
    fn a_client_that_goes_away_does_not_free_the_place_of_its_decoder() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (free, busy) = mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || busy.recv());
            let storage = Storage::new(trellis_storage::Settings::default());
            let base = "gs://bucket/inputs".parse().unwrap();
            let inputs = Inputs::new(storage, HttpsReader::new().unwrap(), base, 1000);
            {
                let mut check = pin!(inputs.check(Bytes::from_static(b"no image")));
                assert!(futures::poll!(check.as_mut()).is_pending());
            }
            assert_eq!(inputs.decoders.available_permits(), DECODERS - 1);
            drop(free);
            let _all = inputs.decoders.acquire_many(DECODERS as u32).await.unwrap();
        });
    }
}
