//! The REST API for one test.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use trellis_api::{Key, Keys, ServeError, Settings, WebhookSettings};

use crate::fixture::Fixture;

/// A running API with one user.
pub(crate) struct Service {
    url: String,
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
        let settings = Settings {
            api_keys_file: folder.path().join("keys.yaml"),
            input_uri: format!("file://{}", folder.path().join("inputs").display()),
            storage_emulator_host: None,
            pool_namespace: fixture.namespace.name().to_owned(),
            output_uri: None,
            file_roots: Vec::new(),
            max_image_bytes: 1 << 20,
            webhooks: WebhookSettings {
                namespaces: vec![fixture.namespace.name().to_owned()],
                ..WebhookSettings::default()
            },
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (shutdown, stopped) = oneshot::channel::<()>();
        let stopped = async { _ = stopped.await };
        let task = tokio::spawn(trellis_api::serve(listener, settings, fixture.client.clone(), stopped));
        let service = Self { url, key, task, shutdown, folder };
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
