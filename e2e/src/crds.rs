//! Installs custom resource definitions.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt as _};

use crate::paths;

/// Applies the definitions of this project: [`install_definitions`] of `crds/yaml/`.
///
/// # Errors
/// See [`install_definitions`].
pub async fn install_crds(client: &Client) -> Result<()> {
    install_definitions(client, &paths::source().join("crds/yaml")).await
}

/// Applies every definition in `folder` and waits until the API server serves them. Applying twice changes nothing.
///
/// # Errors
/// Fails when a file is no definition, when the API server refuses one, or when it is not served within 30 s.
pub async fn install_definitions(client: &Client, folder: &Path) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>())
        .with_context(|| format!("cannot list {}", folder.display()))?;
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        let text = std::fs::read_to_string(file)?;
        let definition: CustomResourceDefinition = serde_yaml::from_str(&text)
            .with_context(|| format!("{} is no CustomResourceDefinition", file.display()))?;
        let name = definition.name_any();
        let parameters = PatchParams::apply("trellis-e2e").force();
        definitions
            .patch(&name, &parameters, &Patch::Apply(&definition))
            .await
            .with_context(|| format!("the API server refused {}", file.display()))?;
        let established = await_condition(definitions.clone(), &name, conditions::is_crd_established());
        tokio::time::timeout(Duration::from_secs(30), established)
            .await
            .with_context(|| format!("{name} was not established within 30 s"))??;
    }
    Ok(())
}
