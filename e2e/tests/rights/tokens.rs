//! Clients that have no more rights than the chart's service accounts.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use trellis_e2e::Namespace;

/// Issues tokens of the service accounts of the release that has the namespace's name.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) namespace: Namespace,
    pub(crate) kubeconfig: PathBuf,
}

impl Tokens {
    pub(crate) fn account(&self, part: &str) -> String {
        format!("{}-{part}", self.namespace.name())
    }

    /// A client with a token of the account of `part`, bound to an object where one is given.
    pub(crate) async fn client(&self, part: &str, bound: Option<BoundObjectReference>) -> Result<Client> {
        let spec = TokenRequestSpec { bound_object_ref: bound, ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts = self.namespace.api::<ServiceAccount>();
        let issued =
            accounts.create_token_request(&self.account(part), &PostParams::default(), &request).await?;
        let token = issued.status.context("no token was issued")?.token;
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.auth_info = serde_json::from_value::<AuthInfo>(json!({ "token": token }))?;
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }
}
