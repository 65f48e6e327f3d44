//! What is in buckets: listing and deleting, over the XML API of Cloud Storage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use google_cloud_auth::credentials::{AccessTokenCredentials, Builder};
use object_store::client::{CredentialProvider, StaticCredentialProvider};
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::sync::Mutex;

use crate::storage::{Listed, Listing};
use crate::{Error, ObjectUri};

/// How long one request may take, and how long and how often it is made again on 429 and 5xx.
const REQUEST_TIME: Duration = Duration::from_secs(60);
const RETRY_TIME: Duration = Duration::from_secs(120);
const RETRIES: usize = 6;

/// Clients of buckets, each made when first used.
#[derive(Debug)]
pub(crate) struct Buckets {
    emulator: Option<String>,
    clients: Mutex<HashMap<String, Arc<GoogleCloudStorage>>>,
}

impl Buckets {
    /// `emulator` is its URL.
    pub(crate) fn new(emulator: Option<String>) -> Self {
        Self { emulator, clients: Mutex::default() }
    }

    pub(crate) fn list(self: &Arc<Self>, uri: &ObjectUri, bucket: &str, prefix: &str) -> Listing {
        let (buckets, uri) = (self.clone(), uri.clone());
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        let opened = async move { buckets.open(uri, bucket, &prefix).await };
        stream::once(opened).try_flatten().boxed()
    }

    async fn open(&self, uri: ObjectUri, bucket: String, prefix: &str) -> Result<Listing, Error> {
        let path = Path::parse(prefix).map_err(|error| convert(&uri, error.into()))?;
        let client = self.client(&uri, &bucket).await?;
        let objects = client.list((!prefix.is_empty()).then_some(&path));
        let listing = objects.map(move |object| match object {
            Ok(object) => Ok(listed(&bucket, &object)),
            Err(error) => Err(convert_listing(&uri, error)),
        });
        Ok(listing.boxed())
    }

    pub(crate) async fn delete(&self, uri: &ObjectUri, bucket: &str, object: &str) -> Result<(), Error> {
        let path = Path::parse(object).map_err(|error| convert(uri, error.into()))?;
        self.client(uri, bucket).await?.delete(&path).await.map_err(|error| convert(uri, error))
    }

    async fn client(&self, uri: &ObjectUri, bucket: &str) -> Result<Arc<GoogleCloudStorage>, Error> {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(bucket) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.connect(uri, bucket)?);
        clients.insert(bucket.to_owned(), client.clone());
        Ok(client)
    }

    fn connect(&self, uri: &ObjectUri, bucket: &str) -> Result<GoogleCloudStorage, Error> {
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIME, ..RetryConfig::default() };
        let options =
            ClientOptions::new().with_timeout(REQUEST_TIME).with_allow_http(self.emulator.is_some());
        let builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_client_options(options);
        let builder = match &self.emulator {
            Some(url) => {
                let nobody = GcpCredential { bearer: String::new() };
                let nobody = Arc::new(StaticCredentialProvider::new(nobody));
                builder.with_base_url(url).with_credentials(nobody)
            }
            None => builder.with_credentials(Arc::new(Token::new(uri)?)),
        };
        builder.build().map_err(|error| convert(uri, error))
    }
}

fn convert(uri: &ObjectUri, error: object_store::Error) -> Error {
    Error::of_object_store(uri.to_string(), error)
}

/// The crate has no kinds of error for listings that the store refuses: only the text has the status.
fn convert_listing(uri: &ObjectUri, error: object_store::Error) -> Error {
    let text = chain(&error);
    let has_status = |status: &str| text.contains(&format!("status code: {status}"));
    if has_status("404") {
        Error::NotFound { uri: uri.to_string() }
    } else if has_status("401") || has_status("403") {
        Error::Denied { uri: uri.to_string(), source: Some(Box::new(error)) }
    } else {
        convert(uri, error)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn listed(bucket: &str, object: &ObjectMeta) -> Listed {
    Listed {
        uri: ObjectUri::of_object(bucket, object.location.as_ref()),
        bytes: object.size,
        modified: object.last_modified.into(),
        is_unfinished: false,
    }
}

/// The account that reads and writes objects lists and deletes them too.
#[derive(Debug)]
struct Token(AccessTokenCredentials);

impl Token {
    fn new(uri: &ObjectUri) -> Result<Self, Error> {
        let credentials = Builder::default().build_access_token_credentials();
        credentials.map(Self).map_err(|error| Error::unavailable(uri.to_string(), error))
    }
}

#[async_trait]
impl CredentialProvider for Token {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        match self.0.access_token().await {
            Ok(token) => Ok(Arc::new(GcpCredential { bearer: token.token })),
            Err(error) => Err(object_store::Error::Generic { store: "GCS", source: Box::new(error) }),
        }
    }
}
