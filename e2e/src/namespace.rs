//! Namespaces for one test each.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{FutureExt as _, TryStreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Namespace as Object};
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::dump::dump;

/// Runs a test in a namespace of its own, deleted afterwards. When the test fails, by an error or a panic, what is in the namespace is printed first.
///
/// # Errors
/// Returns the test's own error, or that the namespace cannot be created.
pub async fn in_namespace(
    client: &Client,
    prefix: &str,
    test: impl AsyncFnOnce(&Namespace) -> Result<()>,
) -> Result<()> {
    let namespace = Namespace::create(client, prefix).await?;
    let outcome = AssertUnwindSafe(test(&namespace)).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        eprintln!("{}", dump(client, namespace.name()).await);
    }
    let deleted = namespace.delete().await;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))?;
    deleted
}

/// A namespace that one test has for itself.
#[derive(Clone)]
pub struct Namespace {
    client: Client,
    name: String,
}

impl Namespace {
    /// Creates a namespace whose name is `prefix` and a random suffix.
    ///
    /// # Errors
    /// Fails when the API server refuses it.
    pub async fn create(client: &Client, prefix: &str) -> Result<Self> {
        let mut object = Object::default();
        object.metadata.generate_name = Some(format!("{prefix}-"));
        object.metadata.labels = Some([("trellis3d.dev/test".to_owned(), "true".to_owned())].into());
        let namespaces: Api<Object> = Api::all(client.clone());
        let created = namespaces
            .create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("cannot create a namespace for {prefix}"))?;
        Ok(Self { client: client.clone(), name: created.name_any() })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client it was created with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The API of the objects of one kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Waits, by a watch, until the object called `name` fulfils `condition`, and returns it: `None` if the condition is that it is gone.
    ///
    /// # Errors
    /// Fails when that does not happen within `limit`; the message has the object as it was then.
    pub async fn wait_for<K>(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        condition: impl Fn(Option<&K>) -> bool,
    ) -> Result<Option<K>>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
        K::DynamicType: Default,
    {
        let api = self.api::<K>();
        match tokio::time::timeout(limit, await_condition(api.clone(), name, condition)).await {
            Ok(object) => object.with_context(|| format!("cannot watch {name}")),
            Err(_) => {
                let now = api.get_opt(name).await;
                anyhow::bail!("waited {} s for {name} to be {what}; it is now {now:#?}", limit.as_secs())
            }
        }
    }

    /// Waits, by a watch, for an event of this reason about the object called `name`.
    ///
    /// # Errors
    /// Fails when there is none within `limit`.
    pub async fn wait_for_event(&self, name: &str, reason: &str, limit: Duration) -> Result<Event> {
        let about = watcher::Config::default().fields(&format!("involvedObject.name={name},reason={reason}"));
        let mut events = std::pin::pin!(watcher::watcher(self.api(), about).applied_objects());
        let first = tokio::time::timeout(limit, events.try_next()).await;
        let first = first
            .with_context(|| format!("waited {} s for an event {reason} about {name}", limit.as_secs()))?;
        first?.context("the watch of events ended")
    }

    /// Deletes the namespace without waiting for its contents to go.
    ///
    /// # Errors
    /// Fails when the API server refuses.
    pub async fn delete(self) -> Result<()> {
        let namespaces: Api<Object> = Api::all(self.client);
        namespaces.delete(&self.name, &DeleteParams::background()).await?;
        Ok(())
    }
}
