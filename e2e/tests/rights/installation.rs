//! The chart, and its programs with the tokens of their service accounts.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use trellis_api::{CleanSettings, Key, Keys, Listeners, WebhookSettings, clean_storage};
use trellis_crds::{GenerationJob, WorkerPool, labels};
use trellis_e2e::chart::{apply, render};
use trellis_e2e::{ApiServer, AuditEvent, Namespace, install_crds, operator_settings};

use crate::repeating::{Kinds, repeating};
use crate::tokens::Tokens;
use crate::workers;

const LIMIT: Duration = Duration::from_secs(90);
const PHOTO: &[u8] = include_bytes!("../../../worker/pipeline/tests/golden/15_end2end/input.png");
/// What the operator asks for twice: it reads the job, and the pod, to see what became of the first request.
const REPEATED: Kinds = &[(Method::PUT, "/generationjobs/", "/status"), (Method::POST, "/api/v1/", "/pods")];

/// What is off by default.
const CLEANUP: [&str; 2] = ["--set", "cleanup.enabled=true"];

/// Where the chart lets its programs do what they do with jobs.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    AllNamespaces,
    OwnNamespace,
}

/// A program that ends when it is told to.
struct Program {
    task: JoinHandle<Result<()>>,
    shutdown: oneshot::Sender<()>,
}

impl Program {
    fn start<F: Future<Output = Result<()>> + Send + 'static>(
        run: impl FnOnce(oneshot::Receiver<()>) -> F,
    ) -> Self {
        let (shutdown, stopped) = oneshot::channel();
        Self { task: tokio::spawn(run(stopped)), shutdown }
    }

    async fn stop(self) -> Result<()> {
        let _ = self.shutdown.send(());
        self.task.await?
    }
}

/// An API server with the chart in it, and all of its programs.
pub(crate) struct Installation {
    server: ApiServer,
    pub(crate) tokens: Tokens,
    chart: String,
    operator: Program,
    api: Program,
    workers: JoinSet<()>,
    folder: TempDir,
    url: String,
    key: String,
}

impl Installation {
    /// With the chart's rights for the jobs of all namespaces, or for those of its own alone.
    pub(crate) async fn start(scope: Scope) -> Result<Self> {
        let server = ApiServer::start().await?;
        let client = server.client().await?;
        install_crds(&client).await?;
        let namespace = Namespace::create(&client, "rights").await?;
        let (kubeconfig, release) = (server.kubeconfig(), namespace.name().to_owned());
        let tokens = Tokens { namespace, kubeconfig: kubeconfig.clone() };
        let install = move || {
            let chart = match scope {
                Scope::AllNamespaces => render(&release, &CLEANUP)?,
                Scope::OwnNamespace => {
                    let namespaces = format!("jobNamespaces={{{release}}}");
                    render(&release, &[&CLEANUP[..], &["--set", &namespaces]].concat())?
                }
            };
            apply(&kubeconfig, &chart, &[]).map(|()| chart)
        };
        let chart = tokio::task::spawn_blocking(install).await??;
        let folder = tempfile::tempdir()?;
        let (key, hashed) = Key::generate("alice".into(), "alice".into(), tokens.namespace.name().into())?;
        std::fs::write(
            folder.path().join("keys.yaml"),
            serde_yaml::to_string(&Keys { keys: vec![hashed] })?,
        )?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut workers = JoinSet::new();
        workers.spawn(workers::run(tokens.clone()));
        let operator = operator(&tokens).await?;
        let api = api(&tokens, &folder, listener).await?;
        Ok(Self { server, tokens, chart, operator, api, workers, folder, url, key })
    }

    /// Ends the programs. Returns the audit log and the chart's manifests.
    pub(crate) async fn stop(self) -> Result<(Vec<AuditEvent>, String)> {
        let Self { server, chart, operator, api, mut workers, folder, .. } = self;
        let ended = (operator.stop().await, api.stop().await);
        workers.shutdown().await;
        ended.0.context("the operator")?;
        ended.1.context("the API")?;
        folder.close()?;
        let events = tokio::task::spawn_blocking(move || server.audit_events()).await??;
        Ok((events, chart))
    }

    /// Cleans the storage.
    pub(crate) async fn clean(&self) -> Result<()> {
        let client = self.tokens.client("cleanup", None).await?;
        let folder = |name| format!("file://{}", self.folder.path().join(name).display());
        let settings = CleanSettings {
            output_uri: folder("outputs"),
            input_uri: folder("inputs"),
            storage_emulator_host: None,
            keep_results_days: None,
            dry_run: false,
        };
        Ok(clean_storage(&settings, client, &mut Vec::new()).await?)
    }

    pub(crate) fn jobs(&self) -> Api<GenerationJob> {
        self.tokens.namespace.api()
    }

    pub(crate) fn pools(&self) -> Api<WorkerPool> {
        self.tokens.namespace.api()
    }

    pub(crate) async fn create_job(&self, name: &str, more: Value) -> Result<()> {
        let mut spec = json!({"input": {"image": {"sources": [{"uri": "gs://photos/cup.png"}]}}});
        json_patch::merge(&mut spec, &more);
        let job = GenerationJob::new(name, serde_json::from_value(spec)?);
        self.jobs().create(&PostParams::default(), &job).await?;
        Ok(())
    }

    /// Creates a job as the API does, with what it offers to nobody.
    pub(crate) async fn create_job_over_rest(&self, name: &str, more: Value) -> Result<()> {
        self.create_job(name, more).await?;
        let labels = json!({labels::MANAGED_BY: labels::MANAGED_BY_API, labels::USER: "alice"});
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        self.jobs().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Waits until the job is as asked.
    pub(crate) async fn job(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&GenerationJob) -> bool,
    ) -> Result<()> {
        let is = |job: Option<&GenerationJob>| job.is_some_and(&is);
        self.tokens.namespace.wait_for(name, what, LIMIT, is).await.map(drop)
    }

    pub(crate) async fn gone(&self, name: &str) -> Result<()> {
        let gone = |job: Option<&GenerationJob>| job.is_none();
        self.tokens.namespace.wait_for(name, "gone", LIMIT, gone).await.map(drop)
    }

    pub(crate) async fn no_pods(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let pods = self.tokens.namespace.api::<Pod>();
        while !pods.list(&ListParams::default()).await?.items.is_empty() {
            anyhow::ensure!(Instant::now() < deadline, "the workers that nobody needs stay");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Asks for `path`, and says with which status it was answered.
    pub(crate) async fn get(&self, path: &str) -> Result<StatusCode> {
        Ok(self.request(Method::GET, path).send().await?.status())
    }

    pub(crate) async fn post(&self, path: &str) -> Result<()> {
        self.request(Method::POST, path).send().await?.error_for_status()?;
        Ok(())
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.request(Method::DELETE, path).send().await?.error_for_status()?;
        Ok(())
    }

    /// Submits a photo once the service is ready, and returns the job's id.
    pub(crate) async fn submit(&self) -> Result<String> {
        let deadline = Instant::now() + LIMIT;
        while self.get("/readyz").await? != StatusCode::OK {
            anyhow::ensure!(Instant::now() < deadline, "the API does not get ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let photo = base64::engine::general_purpose::STANDARD.encode(PHOTO);
        let request =
            self.request(Method::POST, "/api/v1/generate/image-to-3d").json(&json!({"image_base64": photo}));
        let job: Value = request.send().await?.error_for_status()?.json().await?;
        job["id"].as_str().map(str::to_owned).context("the answer has no id")
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        reqwest::Client::new().request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }
}

async fn operator(tokens: &Tokens) -> Result<Program> {
    let client = repeating(tokens.client("operator", None).await?, REPEATED);
    let settings = trellis_operator::Settings {
        lease_name: tokens.account("operator"),
        output_uri: "gs://b/o".into(),
        worker_service_account: tokens.account("worker"),
        watch_namespace: None,
        ..operator_settings(tokens.namespace.name(), "operator-1")
    };
    Ok(Program::start(|stopped| async move {
        Ok(trellis_operator::run(client, settings, async { _ = stopped.await }).await?)
    }))
}

async fn api(tokens: &Tokens, folder: &TempDir, listener: TcpListener) -> Result<Program> {
    let client = tokens.client("api", None).await?;
    let keys = folder.path().join("keys.yaml");
    let inputs = format!("file://{}", folder.path().join("inputs").display());
    let webhooks = WebhookSettings {
        lease: format!("{}-webhooks", tokens.account("api")),
        ..WebhookSettings::default()
    };
    let settings = trellis_api::Settings {
        webhooks,
        ..trellis_api::Settings::new(keys, inputs, tokens.namespace.name().to_owned())
    };
    let listeners = Listeners { api: listener, metrics: TcpListener::bind("127.0.0.1:0").await? };
    Ok(Program::start(|stopped| async move {
        Ok(trellis_api::serve(listeners, settings, client, async { _ = stopped.await }).await?)
    }))
}
