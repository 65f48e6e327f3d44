//! Brings a job's input files.

use bytes::Bytes;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::time::{Duration, timeout};
use trellis_crds::{ConfigMapKeyRef, Source};
use trellis_storage::{HttpsReader, Storage};
use trellis_worker_core::{Failure, chain};

use crate::failure::{NamedBy, of_storage};

/// The largest input file, in bytes.
const LARGEST_INPUT: u64 = 32 << 20;
/// How long the API server may take to answer.
const CALL_TIME: Duration = Duration::from_secs(10);

/// Reads input files wherever a job may keep them.
#[derive(Clone)]
pub(crate) struct Fetcher {
    pub(crate) client: Client,
    pub(crate) storage: Storage,
    pub(crate) https: HttpsReader,
}

impl Fetcher {
    /// Reads all `sources` of a job in `namespace`, in their order.
    pub(crate) async fn all(
        &self,
        namespace: &str,
        sources: impl Iterator<Item = &Source>,
    ) -> Result<Vec<Bytes>, Failure> {
        try_join_all(sources.map(|source| self.one(namespace, source))).await
    }

    async fn one(&self, namespace: &str, source: &Source) -> Result<Bytes, Failure> {
        match source {
            Source { uri: Some(uri), config_map_key_ref: None } => self.object(uri).await,
            Source { uri: None, config_map_key_ref: Some(key) } => self.config_map(namespace, key).await,
            _ => Err(Failure::invalid("a source has either a uri or a configMapKeyRef")),
        }
    }

    async fn object(&self, uri: &str) -> Result<Bytes, Failure> {
        let content = if uri.starts_with("https:") || uri.starts_with("http:") {
            self.https.get(uri, LARGEST_INPUT).await
        } else {
            match uri.parse() {
                Ok(uri) => self.storage.get(&uri, LARGEST_INPUT).await,
                Err(error) => Err(error),
            }
        };
        content.map_err(|error| of_storage(&error, NamedBy::Job))
    }

    async fn config_map(&self, namespace: &str, key: &ConfigMapKeyRef) -> Result<Bytes, Failure> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let unreachable =
            || Failure::transient(format!("the ConfigMap {} could not be read at the moment", key.name));
        let map = timeout(CALL_TIME, api.get_opt(&key.name)).await.map_err(|_| unreachable())?;
        let map = map.map_err(|error| {
            tracing::warn!(error = chain(&error), "cannot read a ConfigMap");
            unreachable()
        })?;
        let map = map.ok_or_else(|| {
            Failure::invalid(format!("there is no ConfigMap {} in the namespace {namespace}", key.name))
        })?;
        value(map, &key.key)
            .ok_or_else(|| Failure::invalid(format!("the ConfigMap {} has no key {}", key.name, key.key)))
    }
}

/// The value of `key`, of whichever of the two kinds of data it is. The API server keeps it below 1 MiB.
fn value(map: ConfigMap, key: &str) -> Option<Bytes> {
    let binary = map.binary_data.and_then(|mut data| data.remove(key)).map(|value| value.0);
    let text = || map.data.and_then(|mut data| data.remove(key)).map(String::into_bytes);
    binary.or_else(text).map(Bytes::from)
}
