//! Objects in Google Cloud Storage, or in an emulator of it.
//!
//! Only reading and writing: listing and deleting go over gRPC in this client, which no emulator offers.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use google_cloud_auth::credentials::anonymous;
use google_cloud_gax::retry_policy::RetryPolicyExt;
use google_cloud_storage::client::Storage;
use google_cloud_storage::error::{ReadError, WriteError};
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

/// The Cloud Storage client, made when first used: a program that only reads files needs no Google account.
#[derive(Debug)]
pub(crate) struct Gcs {
    emulator: Option<String>,
    client: OnceCell<Storage>,
}

impl Gcs {
    /// `emulator` is `host:port` or a URL, as in the variable `STORAGE_EMULATOR_HOST` of Google's other clients.
    pub(crate) fn new(emulator: Option<String>) -> Self {
        let emulator = emulator.filter(|host| !host.is_empty()).map(|host| match host.contains("://") {
            true => host,
            false => format!("http://{host}"),
        });
        Self { emulator, client: OnceCell::new() }
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
        within(uri, limit, write).await?;
        Ok(())
    }

    pub(crate) async fn open(
        &self,
        uri: &ObjectUri,
        (bucket, object): (&str, &str),
    ) -> Result<ObjectReader, Error> {
        let read = self.client(uri).await?.read_object(bucket_name(bucket), object).send();
        let response = within(uri, READ_TIME, read).await?;
        let size = u64::try_from(response.object().size).unwrap_or_default();
        let pieces = stream::try_unfold((response, uri.clone()), async |(mut response, uri)| {
            let next = async { response.next().await.transpose() };
            let piece = within(&uri, READ_TIME, next).await?;
            Ok(piece.map(|piece| (piece, (response, uri))))
        });
        Ok(ObjectReader { size, pieces: pieces.boxed() })
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
    use super::*;

    #[test]
    fn an_emulator_is_named_with_or_without_a_scheme() {
        assert_eq!(Gcs::new(Some("localhost:4443".into())).emulator.unwrap(), "http://localhost:4443");
        assert_eq!(Gcs::new(Some("http://gcs:80".into())).emulator.unwrap(), "http://gcs:80");
        assert_eq!(Gcs::new(Some(String::new())).emulator, None);
    }

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
}
