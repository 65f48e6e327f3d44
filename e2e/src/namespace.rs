//! Namespaces for one test each.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace as Object;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt as _};

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

    /// The API of the objects of one kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
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
