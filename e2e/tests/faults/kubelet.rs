//! Plays the kubelet of one namespace: for each pod it runs a worker that speaks the real protocol.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trellis_e2e::Namespace;
use trellis_e2e::kubelet::{ended, ready, set_pod_status};
use trellis_telemetry::Health;
use trellis_worker_core::{Identity, Metrics, Pace, Worker, serve};

use crate::engine::{Runs, Waiting};
use crate::layer::{Faults, Program};

/// Ends when dropped, and its workers with it.
pub(crate) struct Kubelet {
    node: Arc<Node>,
    _task: JoinSet<()>,
}

struct Node {
    pods: Api<Pod>,
    client: Client,
    faults: Arc<Faults>,
    runs: Runs,
    /// The pods that run, by uid, in the order in which they came.
    running: Mutex<BTreeMap<usize, Running>>,
}

struct Running {
    uid: String,
    name: String,
    /// Tells the worker to end, as SIGTERM does.
    shutdown: Option<oneshot::Sender<()>>,
    /// Told when its node is.
    lost: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lost.cancel();
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.node.running.lock().unwrap().clear();
    }
}

impl Kubelet {
    pub(crate) fn start(namespace: &Namespace, faults: &Arc<Faults>, runs: &Runs) -> Self {
        let node = Arc::new(Node {
            pods: namespace.api(),
            client: namespace.client().clone(),
            faults: faults.clone(),
            runs: runs.clone(),
            running: Mutex::default(),
        });
        let mut task = JoinSet::new();
        task.spawn(node.clone().watch());
        Self { node, _task: task }
    }

    /// Deletes the `number`-th of the pods that run, as somebody with kubectl would.
    pub(crate) async fn delete_pod(&self, number: usize) {
        if let Some((_, name)) = self.node.nth(number) {
            let _ = self.node.pods.delete(&name, &DeleteParams::default()).await;
        }
    }

    /// The node of a pod is gone: its worker ends without a word, and the pod is removed.
    pub(crate) async fn lose_node(&self, number: usize) {
        let Some((place, name)) = self.node.nth(number) else { return };
        drop(self.node.running.lock().unwrap().remove(&place));
        self.node.remove(&name).await;
    }
}

impl Node {
    fn nth(&self, number: usize) -> Option<(usize, String)> {
        let running = self.running.lock().unwrap();
        let count = running.len().max(1);
        running.iter().nth(number % count).map(|(place, running)| (*place, running.name.clone()))
    }

    async fn watch(self: Arc<Self>) {
        let mut changes = watcher(self.pods.clone(), watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .boxed();
        let mut seen = 0;
        while let Some(change) = changes.next().await {
            let Ok(pod) = change else { continue };
            let uid = pod.uid().unwrap_or_default();
            let is_new = pod.status.as_ref().is_none_or(|status| status.phase.as_deref() == Some("Pending"));
            let known = self.running.lock().unwrap().values().any(|running| running.uid == uid);
            if pod.metadata.deletion_timestamp.is_some() {
                self.terminate(&uid, &pod.name_any()).await;
            } else if is_new && !known {
                self.clone().start(seen, uid, &pod).await;
                seen += 1;
            }
        }
    }

    async fn start(self: Arc<Self>, place: usize, uid: String, pod: &Pod) {
        let name = pod.name_any();
        let (shutdown, stopped) = oneshot::channel::<()>();
        let (program, lost) =
            (Program::new(format!("worker-{place}"), &self.faults), CancellationToken::new());
        let running =
            Running { uid: uid.clone(), name: name.clone(), shutdown: Some(shutdown), lost: lost.clone() };
        self.running.lock().unwrap().insert(place, running);
        let identity = Identity { pod_name: name.clone(), pod_uid: uid };
        tokio::spawn(self.clone().run(program, identity, max_jobs(pod), stopped, lost));
        self.report(&name, ready()).await;
    }

    /// Runs the container of a pod once, as pods of pools ask. What comes after its death is told to nobody where the node is lost.
    async fn run(
        self: Arc<Self>,
        program: Arc<Program>,
        identity: Identity,
        max_jobs: Option<u32>,
        mut stopped: oneshot::Receiver<()>,
        lost: CancellationToken,
    ) {
        let (client, death) = program.client(&self.client);
        let name = identity.pod_name.clone();
        let registry = trellis_telemetry::registry("worker", "1.0.0").expect("a registry");
        let worker = Worker {
            client,
            identity,
            engine: Waiting {
                worker: name.clone(),
                schedule: self.faults.schedule,
                runs: self.runs.clone(),
                death: death.clone(),
            },
            metrics: Metrics::new(&registry).expect("metrics"),
            max_jobs,
            pace: Pace::default(),
        };
        let namespace = self.pods.namespace().map(ToOwned::to_owned);
        let end = async { _ = (&mut stopped).await };
        tokio::select! {
            _ = serve(worker, namespace, Health::default(), end) => self.report(&name, ended(0)).await,
            () = death.cancelled() => self.report(&name, ended(137)).await,
            () = lost.cancelled() => death.cancel(),
        }
        // A pod that is told to end is gone when its containers are; one that ended by itself stays.
        if stopped.try_recv() != Err(TryRecvError::Empty) {
            self.remove(&name).await;
        }
    }

    async fn terminate(&self, uid: &str, name: &str) {
        let shutdown = {
            let mut running = self.running.lock().unwrap();
            running.values_mut().find(|running| running.uid == uid).map(|running| running.shutdown.take())
        };
        match shutdown {
            Some(shutdown) => drop(shutdown),
            None => self.remove(name).await,
        }
    }

    /// It may be gone by now.
    async fn report(&self, name: &str, status: Value) {
        let _ = set_pod_status(&self.pods, name, status).await;
    }

    async fn remove(&self, name: &str) {
        let _ = self.pods.delete(name, &DeleteParams::default().grace_period(0)).await;
    }
}

/// After how many attempts the worker ends, as its environment says.
fn max_jobs(pod: &Pod) -> Option<u32> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut variables = containers.flat_map(|container| container.env.iter().flatten());
    variables.find(|variable| variable.name == "TRELLIS_MAX_JOBS")?.value.as_ref()?.parse().ok()
}
