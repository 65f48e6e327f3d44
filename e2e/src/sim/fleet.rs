//! A worker for each pod.

use std::collections::HashMap;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use trellis_crds::EXIT_FAULTY;
use trellis_telemetry::Health;
use trellis_worker_core::{Ended, Engine, Identity, Metrics, Pace, Worker, serve};

use crate::kubelet;

/// Runs a worker for each worker pod of a namespace that is ready, in this process. Ends when dropped.
///
/// A pod that is to end hands back its job, as at SIGTERM; with one that is gone its worker is gone, as at SIGKILL. When a worker ends by itself its
/// pod says so.
pub struct Fleet {
    _task: JoinSet<()>,
}

impl Fleet {
    /// Runs workers whose clients are clones of `client`, and whose engines are clones of `engine`.
    pub fn start(client: Client, namespace: &str, engine: impl Engine + Clone, pace: Pace) -> Self {
        let mut task = JoinSet::new();
        task.spawn(follow(Crew { client, namespace: namespace.into(), engine, pace }));
        Self { _task: task }
    }
}

/// What all workers have in common.
#[derive(Clone)]
struct Crew<E> {
    client: Client,
    namespace: String,
    engine: E,
    pace: Pace,
}

/// The worker of a pod.
struct Running {
    shutdown: CancellationToken,
    task: AbortHandle,
}

async fn follow<E: Engine + Clone>(crew: Crew<E>) {
    let pods: Api<Pod> = Api::namespaced(crew.client.clone(), &crew.namespace);
    let config = watcher::Config::default().labels("app.kubernetes.io/component=worker");
    let mut changes = watcher(pods, config).default_backoff().boxed();
    let mut workers = HashMap::<String, Running>::new();
    let mut tasks = JoinSet::new();
    while let Some(change) = changes.next().await {
        match change {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => observe(&crew, &pod, &mut workers, &mut tasks),
            Ok(Event::Delete(pod)) => {
                if let Some(worker) = workers.remove(&pod.uid().unwrap_or_default()) {
                    worker.task.abort();
                }
            }
            _ => {}
        }
        while tasks.try_join_next().is_some() {}
    }
}

fn observe<E: Engine + Clone>(
    crew: &Crew<E>,
    pod: &Pod,
    workers: &mut HashMap<String, Running>,
    tasks: &mut JoinSet<()>,
) {
    let uid = pod.uid().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        if let Some(worker) = workers.get(&uid) {
            worker.shutdown.cancel();
        }
    } else if is_running(pod) && !workers.contains_key(&uid) {
        let shutdown = CancellationToken::new();
        let identity = Identity { pod_name: pod.name_any(), pod_uid: uid.clone() };
        let task = tasks.spawn(run(crew.clone(), identity, max_jobs(pod), shutdown.clone()));
        workers.insert(uid, Running { shutdown, task });
    }
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

/// What the operator tells the worker by its environment.
fn max_jobs(pod: &Pod) -> Option<u32> {
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == "worker")?;
    let variable = container.env.iter().flatten().find(|variable| variable.name == "TRELLIS_MAX_JOBS")?;
    variable.value.as_ref()?.parse().ok().filter(|&most| most > 0)
}

async fn run<E: Engine>(
    crew: Crew<E>,
    identity: Identity,
    max_jobs: Option<u32>,
    shutdown: CancellationToken,
) {
    let name = identity.pod_name.clone();
    let metrics = Metrics::new(&prometheus::Registry::new()).expect("a new registry has no metrics");
    let Crew { client, namespace, engine, pace } = crew;
    let worker = Worker { client: client.clone(), identity, engine, metrics, max_jobs, pace };
    let exit_code =
        match serve(worker, Some(namespace.clone()), Health::default(), shutdown.cancelled_owned()).await {
            Ok(()) => 0,
            Err(Ended::Faulty) => EXIT_FAULTY,
            Err(Ended::Refused) => 1,
        };
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    // It may be gone by now.
    let _ = kubelet::set_pod_status(&pods, &name, kubelet::ended(exit_code)).await;
}
