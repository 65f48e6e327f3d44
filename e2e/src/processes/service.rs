//! All of the service: operator, simulated workers, REST API.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::json;
use trellis_crds::WorkerPool;

use super::{Operator, OperatorSettings, Process, Rest, RestSettings, SimulatedWorkers, simulated_workers};
use crate::kubelet::Kubelet;
use crate::{ApiServer, Namespace, install_crds};

/// How the service runs.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// The users of the REST API.
    pub users: Vec<String>,
    /// How many simulated workers there are.
    pub workers: usize,
    /// How long an attempt takes.
    pub takes: Duration,
    /// How large an asset is.
    pub bytes: usize,
    /// What all programs log.
    pub log_level: String,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            users: vec!["alice".into(), "bob".into()],
            workers: 2,
            takes: Duration::from_millis(20),
            bytes: 1000,
            log_level: "info".into(),
        }
    }
}

/// A service in a namespace of its own, all of its programs as processes; gone when dropped. Its pool takes everything; the pods of its
/// workers are simulated, and so is what they make.
pub struct Service {
    /// Where its jobs are.
    pub namespace: Namespace,
    /// The REST API.
    pub rest: Rest,
    /// The workers.
    pub workers: Process,
    /// The operator.
    pub operator: Operator,
    _kubelet: Kubelet,
}

impl Service {
    /// Starts it on `server`, in a namespace whose name begins with `prefix`.
    ///
    /// # Errors
    /// When a program does not get ready.
    pub async fn start(server: &ApiServer, prefix: &str, settings: &ServiceSettings) -> Result<Self> {
        let client = server.client().await?;
        install_crds(&client).await?;
        let namespace = Namespace::create(&client, prefix).await?;
        create_pool(&namespace, settings.workers).await?;
        let log_level = settings.log_level.clone();
        let rest = RestSettings { log_level, ..RestSettings::of(namespace.name(), &settings.users) };
        let rest = Rest::start(server, &rest).await?;
        let workers = SimulatedWorkers {
            takes: settings.takes,
            output_uri: rest.output_uri(),
            bytes: settings.bytes,
            log_level: settings.log_level.clone(),
        };
        let workers = simulated_workers(server, &namespace, &workers, rest.folder())?;
        let _kubelet = Kubelet::play(namespace.api::<Pod>());
        let operator = OperatorSettings { log_level: &settings.log_level, ..OperatorSettings::default() };
        let operator = Operator::start(server, &namespace, &operator, rest.folder()).await?;
        Ok(Self { namespace, rest, workers, operator, _kubelet })
    }
}

/// Makes a pool that takes everything, of so many workers.
///
/// # Errors
/// When the API server refuses it.
pub async fn create_pool(namespace: &Namespace, workers: usize) -> Result<()> {
    let spec = json!({
        "model": "simulated", "modelUri": "gs://models/simulated", "inputs": ["image", "text", "variant"], "idleSeconds": 3600,
        "replicas": {"min": workers, "max": workers},
        "template": {"spec": {"containers": [{"name": "worker", "image": "worker:none"}]}},
    });
    let pool = WorkerPool::new("default", serde_json::from_value(spec)?);
    namespace.api::<WorkerPool>().create(&PostParams::default(), &pool).await?;
    Ok(())
}
