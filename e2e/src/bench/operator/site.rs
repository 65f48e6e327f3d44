//! Where the operator is measured: an API server, nodes and pods by kwok, the operator and the simulated workers as processes.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use trellis_crds::WorkerPool;

use crate::apiserver::AuditLog;
use crate::processes::{Operator, OperatorSettings, Process, SimulatedWorkers, simulated_workers};
use crate::{ApiServer, Namespace, install_crds, tools};

/// How long anything may take to get ready.
const LIMIT: Duration = Duration::from_secs(300);
const NODE: &str = "kwok-0";

/// The cluster of a measurement.
pub(super) struct Site {
    pub(super) client: Client,
    server: ApiServer,
    folder: TempDir,
    _kwok: Process,
}

impl Site {
    pub(super) async fn start() -> Result<Self> {
        let kwok = tokio::task::spawn_blocking(|| tools::path("kwok")).await??;
        let server = ApiServer::start().await?;
        let client = server.client().await?;
        install_crds(&client).await?;
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("kwok.yaml");
        std::fs::write(&config, include_str!("kwok.yaml"))?;
        let mut command = Command::new(kwok);
        command.arg("--manage-all-nodes").arg("--config").arg(config);
        command.arg("--kubeconfig").arg(server.kubeconfig());
        let kwok = Process::start(&command, &folder.path().join("kwok.log"))?;
        let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}}))?;
        Api::all(client.clone()).create(&PostParams::default(), &node).await?;
        Ok(Self { client, server, folder, _kwok: kwok })
    }

    pub(super) async fn namespace(&self, name: &str) -> Result<Namespace> {
        Namespace::create(&self.client, name).await
    }

    /// The requests from now on.
    pub(super) fn requests(&self) -> Result<AuditLog> {
        AuditLog::from_now_on(self.server.audit_log())
    }

    /// Starts a replica of the operator that looks at `namespace`, and waits until it has listed everything.
    pub(super) async fn operator(&self, namespace: &Namespace, replica: &str) -> Result<Operator> {
        let settings = OperatorSettings { replica, ..OperatorSettings::default() };
        Operator::start(&self.server, namespace, &settings, self.folder.path()).await
    }

    /// Starts a simulated worker for each worker pod of `namespace`.
    pub(super) fn workers(&self, namespace: &Namespace, takes: Duration) -> Result<Process> {
        simulated_workers(&self.server, namespace, &SimulatedWorkers::taking(takes), self.folder.path())
    }

    /// Makes a pool of `workers` on the node of kwok.
    pub(super) async fn pool(&self, namespace: &Namespace, name: &str, workers: usize) -> Result<()> {
        let spec = json!({
            "model": name, "modelUri": "gs://models/tiny", "idleSeconds": 3600,
            "replicas": {"min": workers, "max": workers},
            "template": {"spec": {"nodeName": NODE, "containers": [{"name": "worker", "image": "worker:none"}]}},
        });
        let pool = WorkerPool::new(name, serde_json::from_value(spec)?);
        namespace.api::<WorkerPool>().create(&PostParams::default(), &pool).await?;
        Ok(())
    }

    /// Waits until all workers of a pool are ready.
    pub(super) async fn pool_ready(&self, namespace: &Namespace, name: &str, workers: usize) -> Result<()> {
        let all = |pool: Option<&WorkerPool>| {
            let status = pool.and_then(|pool| pool.status.as_ref());
            status.is_some_and(|status| usize::try_from(status.idle + status.busy) == Ok(workers))
        };
        let ready = timeout(LIMIT, await_condition(namespace.api::<WorkerPool>(), name, all)).await;
        let pods = namespace.api::<Pod>().list(&ListParams::default()).await?.items.len();
        ready.with_context(|| format!("{workers} workers did not get ready; there are {pods} pods"))??;
        Ok(())
    }
}
