//! Watches jobs, pools and worker pods.

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use trellis_crds::{GenerationJob, Phase, WorkerPool, labels};

/// How long one watch request may last, in seconds. A connection that died silently is noticed that soon.
const WATCH_SECONDS: u32 = 60;
/// How many objects one answer to a list has, at most. Until they are taken in they weigh far more than what is kept of them, mostly by `managedFields`, and what a process held once it gives back late.
const PAGE: u32 = 50;

/// What a watch showed.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved a few times and kept nowhere")]
pub(crate) enum Observed {
    Job(Event<DeserializeGuard<GenerationJob>>),
    Pool(Event<DeserializeGuard<WorkerPool>>),
    Worker(Event<DeserializeGuard<Pod>>),
}

/// Why nothing could be observed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error("cannot list {0}: {1}")]
    List(&'static str, #[source] kube::Error),
}

/// Where to look.
#[derive(Clone)]
pub(crate) struct Scope {
    client: Client,
    namespace: Option<String>,
}

impl Scope {
    /// One namespace, or the whole cluster.
    pub(crate) fn new(client: Client, namespace: Option<String>) -> Self {
        Self { client, namespace: namespace.filter(|namespace| !namespace.is_empty()) }
    }

    /// All changes, for ever: a watch that fails is taken up again.
    pub(crate) fn watch(&self) -> impl Stream<Item = Observed> + Send + Unpin + use<> {
        let jobs = self.changes::<GenerationJob>(Config::default()).map(Observed::Job);
        let pools = self.changes::<WorkerPool>(Config::default()).map(Observed::Pool);
        let workers = self.changes::<Pod>(Config::default().labels(&worker_selector())).map(Observed::Worker);
        stream::select_all([jobs.boxed(), pools.boxed(), workers.boxed()])
    }

    /// What a new leader has to know before it decides: all jobs that run and all workers, as they are now. The watches may lag
    /// behind what the last leader wrote.
    pub(crate) async fn catch_up(&self) -> Result<Vec<Observed>, ObserveError> {
        let running = ListParams::default().fields(&format!("status.phase={}", Phase::Processing.as_str()));
        let jobs = list(&self.api::<GenerationJob>(), running, |job| Observed::Job(Event::Apply(job))).await;
        let mut jobs = jobs.map_err(|error| ObserveError::List("GenerationJobs", error))?;
        // After the jobs, so that a worker that a job names and that is not listed is gone.
        let workers = ListParams::default().labels(&worker_selector());
        let worker = |mut pod: DeserializeGuard<Pod>| {
            // Most of its weight, of which next to nothing is needed.
            pod.0.iter_mut().for_each(|pod| pod.spec = pod.spec.take().map(grace_alone));
            Observed::Worker(Event::Apply(pod))
        };
        let observed = list(&self.api::<Pod>(), workers, worker).await;
        let mut observed = observed.map_err(|error| ObserveError::List("Pods", error))?;
        observed.append(&mut jobs);
        Ok(observed)
    }

    fn changes<K>(&self, config: Config) -> impl Stream<Item = Event<DeserializeGuard<K>>> + Send + use<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let config = config.timeout(WATCH_SECONDS).page_size(PAGE);
        watch(self.api::<K>(), config).default_backoff().filter_map(async |event| {
            event
                .inspect_err(
                    |error: &watcher::Error| tracing::warn!(kind = %K::kind(&()), %error, "a watch failed"),
                )
                .ok()
        })
    }

    fn api<K>(&self) -> Api<DeserializeGuard<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// All objects that `params` selects, as they were at one moment, without `managedFields`; each as `observed` makes it, for together they
/// weigh far more.
async fn list<K>(
    api: &Api<DeserializeGuard<K>>,
    params: ListParams,
    observed: impl Fn(DeserializeGuard<K>) -> Observed,
) -> kube::Result<Vec<Observed>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut params = params.limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items.into_iter().map(|mut object| {
            object.meta_mut().managed_fields = None;
            observed(object)
        }));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// How long the pod has to end, and nothing else of what it is to run.
fn grace_alone(spec: PodSpec) -> PodSpec {
    PodSpec { termination_grace_period_seconds: spec.termination_grace_period_seconds, ..PodSpec::default() }
}

fn worker_selector() -> String {
    format!("{}={},{}", labels::COMPONENT, labels::COMPONENT_WORKER, labels::POOL)
}
