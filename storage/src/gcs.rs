//! Objects in Google Cloud Storage, or in an emulator of it.
//!
//! Reading, writing and signing: listing and deleting go over gRPC in this client, which no emulator offers.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use google_cloud_auth::credentials::{self, anonymous};
use google_cloud_auth::signer::Signer;
use google_cloud_gax::retry_policy::RetryPolicyExt;
use google_cloud_storage::builder::storage::SignedUrlBuilder;
use google_cloud_storage::client::Storage;
use google_cloud_storage::error::{ReadError, WriteError};
use google_cloud_storage::model_ext::ReadRange;
use google_cloud_storage::retry_policy::RetryableErrors;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::error::find;
use crate::storage::ObjectReader;
use crate::{Error, ObjectUri, Stored};

/// How long a call is retried on 408, 429 and 5xx, and how often.
const RETRY_TIME: Duration = Duration::from_secs(45);
const RETRIES: u32 = 6;
/// How long a read may take to begin, and then to bring its next bytes.
const READ_TIME: Duration = Duration::from_secs(60);
/// How long a write may take: this, and a second for each MiB.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// How long signing may take: without a key here, IAM signs.
const SIGN_TIME: Duration = Duration::from_secs(30);
/// <https://cloud.google.com/storage/quotas#requests>
const LONGEST_SIGNED: Duration = Duration::from_secs(7 * 86_400);

/// The Cloud Storage client, made when first used: a program that only reads files needs no Google account.
#[derive(Debug)]
pub(crate) struct Gcs {
    emulator: Option<String>,
    client: OnceCell<Storage>,
    signer: OnceCell<Signer>,
}

impl Gcs {
    /// `emulator` is its URL.
    pub(crate) fn new(emulator: Option<String>) -> Self {
        Self { emulator, client: OnceCell::new(), signer: OnceCell::new() }
    }

    pub(crate) async fn put(
        &self,
        uri: &ObjectUri,
        (bucket, object): (&str, &str),
        content: Bytes,
        content_type: &str,
        stored: &Stored,
    ) -> Result<(), Error> {
        let limit = WRITE_TIME + Duration::from_secs(stored.bytes >> 20);
        // Writing the same content twice does no harm, so a write may be retried like a read.
        let write = self
            .client(uri)
            .await?
            .write_object(bucket_name(bucket), object, content)
            .set_content_type(content_type)
            .with_known_crc32c(stored.crc32c)
            .with_idempotency(true)
            .send_unbuffered();
        within(uri, limit, Box::pin(write)).await?;
        Ok(())
    }

    /// Opens an object, or the bytes of it that `range` names.
    pub(crate) async fn open(
        &self,
        uri: &ObjectUri,
        (bucket, object): (&str, &str),
        range: Option<Range<u64>>,
    ) -> Result<ObjectReader, Error> {
        let range = range.map_or_else(ReadRange::all, |range| {
            ReadRange::segment(range.start, range.end.saturating_sub(range.start))
        });
        let read = self.client(uri).await?.read_object(bucket_name(bucket), object).set_read_range(range);
        let response = within(uri, READ_TIME, Box::pin(read.send())).await?;
        let size = u64::try_from(response.object().size).unwrap_or_default();
        let pieces = stream::try_unfold((response, uri.clone()), async |(mut response, uri)| {
            let next = async { response.next().await.transpose() };
            let piece = within(&uri, READ_TIME, next).await?;
            Ok(piece.map(|piece| (piece, (response, uri))))
        });
        Ok(ObjectReader { size, pieces: pieces.boxed() })
    }

    pub(crate) async fn sign_get(
        &self,
        uri: &ObjectUri,
        (bucket, object): (&str, &str),
        expiry: Duration,
    ) -> Result<String, Error> {
        if self.emulator.is_some() {
            let why = "an emulator has no signed addresses";
            return Err(Error::Unsupported { uri: uri.to_string(), why });
        }
        if expiry > LONGEST_SIGNED {
            return Err(Error::refused(uri.to_string(), "a signed address lasts seven days at most"));
        }
        let signer = self.signer.get_or_try_init(async || credentials::Builder::default().build_signer());
        let signer = signer.await.map_err(|error| Error::unavailable(uri.to_string(), error))?;
        let builder = SignedUrlBuilder::for_object(bucket_name(bucket), object).with_expiration(expiry);
        match timeout(SIGN_TIME, builder.sign_with(signer)).await {
            Ok(signed) => signed.map_err(|error| Error::unavailable(uri.to_string(), error)),
            Err(elapsed) => Err(Error::unavailable(uri.to_string(), elapsed)),
        }
    }

    async fn client(&self, uri: &ObjectUri) -> Result<&Storage, Error> {
        self.client
            .get_or_try_init(|| self.connect())
            .await
            .map_err(|error| Error::unavailable(uri.to_string(), error))
    }

    async fn connect(&self) -> Result<Storage, google_cloud_gax::client_builder::Error> {
        let retry = RetryableErrors.with_time_limit(RETRY_TIME).with_attempt_limit(RETRIES);
        let builder = Storage::builder().with_retry_policy(retry);
        match &self.emulator {
            Some(host) => {
                // The client's `Host` header lacks the port, and emulators tell it by that where to send the parts of
                // a resumable upload. So everything goes in one part.
                let anonymous = anonymous::Builder::new().build();
                let builder = builder.with_endpoint(host).with_credentials(anonymous);
                builder.with_resumable_upload_threshold(usize::MAX).build().await
            }
            None => builder.build().await,
        }
    }
}

fn bucket_name(bucket: &str) -> String {
    format!("projects/_/buckets/{bucket}")
}

async fn within<T>(
    uri: &ObjectUri,
    limit: Duration,
    call: impl Future<Output = google_cloud_storage::Result<T>>,
) -> Result<T, Error> {
    match timeout(limit, call).await {
        Ok(result) => result.map_err(|error| convert(uri, error)),
        Err(elapsed) => Err(Error::unavailable(uri.to_string(), elapsed)),
    }
}

fn convert(uri: &ObjectUri, error: google_cloud_storage::Error) -> Error {
    let uri = uri.to_string();
    let damaged = matches!(find(&error), Some(ReadError::ChecksumMismatch(_)))
        || matches!(find(&error), Some(WriteError::ChecksumMismatch { .. }));
    match error.http_status_code() {
        _ if damaged => Error::Corrupt { uri, source: Box::new(error) },
        Some(404) => Error::NotFound { uri },
        Some(401 | 403) => Error::Denied { uri, source: Some(Box::new(error)) },
        _ => Error::unavailable(uri, error),
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_auth::signer::SigningProvider;

    use super::*;

    #[test]
    fn the_stores_answers_are_told_apart() {
        let uri: ObjectUri = "gs://bucket/name".parse().unwrap();
        let answer = |code| google_cloud_storage::Error::http(code, Default::default(), Bytes::new());
        assert!(matches!(convert(&uri, answer(404)), Error::NotFound { .. }));
        assert!(matches!(convert(&uri, answer(401)), Error::Denied { .. }));
        assert!(matches!(convert(&uri, answer(403)), Error::Denied { .. }));
        assert!(convert(&uri, answer(503)).is_transient());
        assert!(convert(&uri, answer(429)).is_transient());
        let short = google_cloud_storage::Error::io(ReadError::ShortRead(3));
        assert!(convert(&uri, short).is_transient());
    }

    /// Signs with what it is to sign.
    #[derive(Debug)]
    struct Pen;

    impl SigningProvider for Pen {
        async fn client_email(&self) -> google_cloud_auth::signer::Result<String> {
            Ok("api@project.iam.gserviceaccount.com".into())
        }

        async fn sign(&self, _: &[u8]) -> google_cloud_auth::signer::Result<Bytes> {
            Ok(Bytes::from_static(&[0xab; 4]))
        }
    }

    #[tokio::test]
    async fn a_signed_address_names_the_object_and_lasts_as_long_as_asked() {
        let gcs = Gcs::new(None);
        gcs.signer.set(Signer::from(Pen)).unwrap();
        let uri: ObjectUri = "gs://bucket/a b/model.glb".parse().unwrap();
        let sign = |seconds| gcs.sign_get(&uri, ("bucket", "a b/model.glb"), Duration::from_secs(seconds));
        let signed = sign(600).await.unwrap();
        assert!(signed.starts_with("https://storage.googleapis.com/bucket/a%20b/model.glb?"), "{signed}");
        assert!(signed.contains("X-Goog-Expires=600&"), "{signed}");
        assert!(signed.ends_with("X-Goog-Signature=abababab"), "{signed}");
        assert!(matches!(sign(8 * 86_400).await, Err(Error::Refused { .. })));
    }
}
