//! Where the REST API is measured: an API server, and what a part needs beside it.

use anyhow::{Context as _, Result};
use kube::Client;
use serde_json::{Value, json};

use crate::apiserver::AuditLog;
use crate::processes::{Rest, RestSettings, create_pool};
use crate::{ApiServer, Namespace, install_crds};

/// The user who asks.
pub(super) const USER: &str = "alice";
pub(super) const TEXT: &str = "/api/v1/generate/text-to-3d";
pub(super) const IMAGE: &str = "/api/v1/generate/image-to-3d";

/// The API server of a measurement.
pub(super) struct Site {
    pub(super) server: ApiServer,
    client: Client,
}

impl Site {
    pub(super) async fn start() -> Result<Self> {
        let server = ApiServer::start().await?;
        let client = server.client().await?;
        install_crds(&client).await?;
        Ok(Self { server, client })
    }

    /// A namespace with a pool that takes images and text, of so many workers. Nobody starts them yet.
    pub(super) async fn namespace(&self, name: &str, workers: usize) -> Result<Namespace> {
        let namespace = Namespace::create(&self.client, name).await?;
        create_pool(&namespace, workers).await?;
        Ok(namespace)
    }

    /// A REST API for a user with jobs in `namespace`.
    pub(super) async fn rest(&self, namespace: &Namespace) -> Result<Rest> {
        Rest::start(&self.server, &RestSettings::of(namespace.name(), &[USER])).await
    }

    /// The requests to the API server from now on.
    pub(super) fn requests(&self) -> Result<AuditLog> {
        AuditLog::from_now_on(self.server.audit_log())
    }
}

/// What a user asks for whose prompt has this number.
pub(super) fn prompt(number: u64) -> Value {
    json!({"prompt": format!("a wooden treasure chest with iron bands, number {number}"), "seed": number % 1000})
}

/// Submits a job, and returns its id.
pub(super) async fn submit(rest: &Rest, body: &Value) -> Result<String> {
    let request = reqwest::Client::new().post(format!("{}{TEXT}", rest.url())).bearer_auth(rest.key(USER));
    let answer = request.json(body).send().await?;
    let text = answer.text().await?;
    let job: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    job["id"].as_str().map(str::to_owned).context(text)
}
