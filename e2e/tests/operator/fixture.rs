//! A namespace with an operator of its own, against a real API server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;
use trellis_crds::{GenerationJob, Phase, WorkerPool};
use trellis_e2e::{ApiServer, Namespace, install_crds, operator_settings};
use trellis_operator::{RunError, Settings};

use crate::workers::Workers;

/// How long anything that is to happen may take. Long, because machines that run tests are busy.
const LIMIT: Duration = Duration::from_secs(60);

/// One test's part of the cluster.
pub(crate) struct Fixture {
    pub(crate) server: &'static ApiServer,
    pub(crate) client: Client,
    pub(crate) namespace: Namespace,
}

/// An operator that runs in this process.
pub(crate) struct Operator {
    task: JoinHandle<Result<(), RunError>>,
    shutdown: oneshot::Sender<()>,
}

impl Operator {
    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(self) -> Result<()> {
        let _ = self.shutdown.send(());
        Ok(self.task.await??)
    }

    /// Ends it as SIGKILL does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl Fixture {
    pub(crate) async fn new(name: &str) -> Result<Self> {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let server = ApiServer::shared().await?;
        let client = server.client().await?;
        INSTALLED.get_or_try_init(|| install_crds(&client)).await?;
        let namespace = Namespace::create(&client, name).await?;
        Ok(Self { server, client, namespace })
    }

    /// With a pool named `image`, workers that play along, and an operator.
    pub(crate) async fn running(name: &str, pool: Value) -> Result<(Self, Operator, Workers)> {
        let fixture = Self::new(name).await?;
        fixture.create_pool(pool).await?;
        let workers = Workers::start(&fixture.namespace);
        let operator = fixture.operator("operator-1");
        Ok((fixture, operator, workers))
    }

    /// How an operator runs for this namespace alone.
    pub(crate) fn settings(&self, replica: &str) -> Settings {
        operator_settings(self.namespace.name(), replica)
    }

    pub(crate) fn operator(&self, replica: &str) -> Operator {
        self.operator_with(self.client.clone(), replica)
    }

    /// An operator that reaches the API server through `client`.
    pub(crate) fn operator_with(&self, client: Client, replica: &str) -> Operator {
        let settings = self.settings(replica);
        let (shutdown, stopped) = oneshot::channel::<()>();
        let stopped = async move { _ = stopped.await };
        let task = tokio::spawn(trellis_operator::run(client, settings, stopped));
        Operator { task, shutdown }
    }

    pub(crate) async fn create_pool(&self, more: Value) -> Result<WorkerPool> {
        let mut spec = json!({
            "model": "tiny", "modelUri": "gs://models/tiny", "idleSeconds": 3600,
            "template": {"spec": {"containers": [{"name": "worker", "image": "worker:test"}]}},
        });
        extend(&mut spec, more);
        let pool = WorkerPool::new("image", serde_json::from_value(spec)?);
        Ok(self.pools().create(&PostParams::default(), &pool).await?)
    }

    /// Creates a job. The label `play` tells the worker what to do with it: see [`Workers`].
    pub(crate) async fn create_job(&self, name: &str, play: &str, more: Value) -> Result<GenerationJob> {
        let mut spec = json!({"input": {"image": {"sources": [{"uri": "gs://photos/cup.png"}]}}});
        extend(&mut spec, more);
        let mut job = GenerationJob::new(name, serde_json::from_value(spec)?);
        job.labels_mut().insert("play".into(), play.into());
        Ok(self.jobs().create(&PostParams::default(), &job).await?)
    }

    pub(crate) fn jobs(&self) -> Api<GenerationJob> {
        self.namespace.api()
    }

    pub(crate) fn pools(&self) -> Api<WorkerPool> {
        self.namespace.api()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        self.namespace.api()
    }

    pub(crate) async fn patch_job(&self, name: &str, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.jobs().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub(crate) async fn patch_pool(&self, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.pools().patch("image", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub(crate) async fn delete_pod(&self, name: &str) -> Result<()> {
        self.pods().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits for a job for which `ready` holds.
    pub(crate) async fn job(
        &self,
        name: &str,
        what: &str,
        ready: impl Fn(&GenerationJob) -> bool,
    ) -> Result<GenerationJob> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let job = self.jobs().get(name).await?;
            if ready(&job) {
                return Ok(job);
            }
            if Instant::now() > deadline {
                bail!("job {name} is not {what}: {}", serde_json::to_string_pretty(&job.status)?);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn job_in(&self, name: &str, phase: Phase) -> Result<GenerationJob> {
        self.job(name, phase.as_str(), |job| job.phase() == phase).await
    }

    /// Waits for the pool's status to be so.
    pub(crate) async fn pool(&self, what: &str, ready: impl Fn(&WorkerPool) -> bool) -> Result<WorkerPool> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let pool = self.pools().get("image").await?;
            if ready(&pool) {
                return Ok(pool);
            }
            if Instant::now() > deadline {
                bail!("the pool is not {what}: {}", serde_json::to_string_pretty(&pool.status)?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until there are so many worker pods.
    pub(crate) async fn worker_pods(&self, count: usize) -> Result<Vec<Pod>> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let pods = self.pods().list(&ListParams::default()).await?.items;
            if pods.len() == count {
                return Ok(pods);
            }
            if Instant::now() > deadline {
                bail!("there are {} pods instead of {count}", pods.len());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for an event about an object, and returns the notes of all with that reason.
    pub(crate) async fn event(&self, object: &str, reason: &str) -> Result<Vec<String>> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let events = self.namespace.api::<Event>().list(&ListParams::default()).await?;
            let about = |event: &Event| event.regarding.as_ref().and_then(|object| object.name.clone());
            let events = events.into_iter().filter(|event| about(event).as_deref() == Some(object));
            let events = events.filter(|event| event.reason.as_deref() == Some(reason));
            let notes: Vec<String> = events.filter_map(|event| event.note).collect();
            if !notes.is_empty() {
                return Ok(notes);
            }
            if Instant::now() > deadline {
                bail!("there is no event {reason} about {object}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All that was written in the namespace so far, but for Leases and for what a kubelet writes: `verb resource/subresource name`.
    pub(crate) fn writes(&self) -> Result<Vec<String>> {
        let events = self.server.audit_events().context("the audit log")?;
        let writes = events.into_iter().filter(|event| event.is_write()).filter_map(|event| {
            let object = event.object_ref?;
            let counts = object.namespace == self.namespace.name() && object.resource != "leases";
            let kubelet = object.resource == "pods" && object.subresource == "status";
            let path = [object.resource, object.subresource].join("/");
            // An event's name is its object's name and a time.
            let name = object.name.split('.').next().unwrap_or_default().to_owned();
            (counts && !kubelet).then(|| format!("{} {} {name}", event.verb, path.trim_end_matches('/')))
        });
        Ok(writes.collect())
    }

    /// Of [`Fixture::writes`], those about one job.
    pub(crate) fn writes_about(&self, job: &str) -> Result<Vec<String>> {
        let ending = format!(" {job}");
        Ok(self.writes()?.into_iter().filter(|write| write.ends_with(&ending)).collect())
    }
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
