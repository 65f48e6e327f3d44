//! The REST API for one test.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use trellis_api::{Key, Keys, Listeners, ServeError, Settings, WebhookSettings};

use crate::fixture::Fixture;

/// A running API with one user.
pub(crate) struct Service {
    url: String,
    metrics_url: String,
    key: String,
    task: JoinHandle<Result<(), ServeError>>,
    shutdown: oneshot::Sender<()>,
    folder: TempDir,
}

impl Service {
    /// Starts it for the fixture's namespace, and waits until it is ready.
    pub(crate) async fn start(fixture: &Fixture, user: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (key, entry) = Key::generate("key".into(), user.into(), fixture.namespace.name().into())?;
        std::fs::write(folder.path().join("keys.yaml"), serde_yaml::to_string(&Keys { keys: vec![entry] })?)?;
        let keys = folder.path().join("keys.yaml");
        let inputs = format!("file://{}", folder.path().join("inputs").display());
        let namespace = fixture.namespace.name().to_owned();
        let webhooks = WebhookSettings { namespaces: vec![namespace.clone()], ..WebhookSettings::default() };
        let settings = Settings { webhooks, ..Settings::new(keys, inputs, namespace) };
        let listen = async || TcpListener::bind("127.0.0.1:0").await;
        let listeners = Listeners { api: listen().await?, metrics: listen().await? };
        let url = format!("http://{}", listeners.api.local_addr()?);
        let metrics_url = format!("http://{}/metrics", listeners.metrics.local_addr()?);
        let (shutdown, stopped) = oneshot::channel::<()>();
        let stopped = async { _ = stopped.await };
        let task = tokio::spawn(trellis_api::serve(listeners, settings, fixture.client.clone(), stopped));
        let service = Self { url, metrics_url, key, task, shutdown, folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !reqwest::get(format!("{}/readyz", service.url)).await?.status().is_success() {
            anyhow::ensure!(Instant::now() < deadline, "the API does not get ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(service)
    }

    /// What it answers to anybody's GET.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        Ok(reqwest::get(format!("{}{path}", self.url)).await?.text().await?)
    }

    /// What it exports.
    pub(crate) async fn metrics(&self) -> Result<String> {
        Ok(reqwest::get(&self.metrics_url).await?.text().await?)
    }

    /// Submits a job in the trace of the header, and returns its id.
    pub(crate) async fn submit(
        &self,
        path: &str,
        traceparent: &str,
        request: &BTreeMap<&str, &str>,
    ) -> Result<String> {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url)).json(request);
        let answer = request.bearer_auth(&self.key).header("traceparent", traceparent).send().await?;
        let text = answer.text().await?;
        let job: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        job["id"].as_str().map(str::to_owned).context(text)
    }

    pub(crate) async fn stop(self) -> Result<()> {
        let _ = self.shutdown.send(());
        self.task.await??;
        Ok(self.folder.close()?)
    }
}
