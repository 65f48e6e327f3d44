//! Where a test takes place: a namespace of its own, with the photo and, where it needs any, workers of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Container, EnvVar, Event, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use trellis_crds::{
    GenerationJob, GenerationJobStatus, MultiImageMode, Phase, Replicas, WorkerPool, WorkerPoolSpec, labels,
};
use trellis_e2e::installation::NAMESPACE;
use trellis_e2e::photo::{photo_job, provide_photo};
use trellis_e2e::{Namespace, cluster, in_namespace};

/// How long anything may take that takes seconds on an idle machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// The service account of workers, and the ClusterRoles of the chart that it is bound to.
pub(crate) const WORKER: &str = "trellis-worker";
/// The pool of the chart.
const CHART_POOL: &str = "image";
/// The pool of a test.
const OWN_POOL: &str = "own";
/// The most that a stage can be asked for.
const MOST_STEPS: i32 = 200;

/// How many workers of tests may run at a time. A test that none may disturb, or that disturbs others, takes all of the room.
pub(crate) const ALL: u32 = 3;
static MACHINE: Semaphore = Semaphore::const_new(ALL as usize);

/// Waits until the machine has room for so many workers, and keeps it.
pub(crate) async fn room(workers: u32) -> Result<SemaphorePermit<'static>> {
    Ok(MACHINE.acquire_many(workers).await?)
}

/// Runs a test in a namespace of its own with the photo in it. Its jobs go to the chart's pool.
pub(crate) async fn with_photo(prefix: &str, test: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    in_namespace(&cluster::client().await?, prefix, async |namespace| {
        provide_photo(namespace).await?;
        test(namespace).await
    })
    .await
}

/// Runs a test in a namespace with the photo and so many workers of its own.
pub(crate) async fn with_workers(
    workers: u32,
    prefix: &str,
    test: impl AsyncFnOnce(&Namespace) -> Result<()>,
) -> Result<()> {
    with_photo(prefix, async |namespace| {
        provide_workers(namespace, workers.try_into()?).await?;
        test(namespace).await
    })
    .await
}

/// Gives the namespace a pool of its own that is like the chart's, with so many workers.
async fn provide_workers(namespace: &Namespace, workers: i32) -> Result<()> {
    let post = PostParams::default();
    let account = json!({"metadata": {"name": WORKER}});
    namespace.api::<ServiceAccount>().create(&post, &serde_json::from_value(account)?).await?;
    for role in [WORKER.to_owned(), format!("{WORKER}-watch")] {
        let binding = json!({
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": WORKER, "namespace": namespace.name()}],
        });
        namespace.api::<RoleBinding>().create(&post, &serde_json::from_value(binding)?).await?;
    }
    let pools: Api<WorkerPool> = Api::namespaced(namespace.client().clone(), NAMESPACE);
    let chart =
        pools.get(CHART_POOL).await.context("the chart's pool is missing; install first: make demo")?;
    let replicas = Replicas { min: workers, max: workers, ..Replicas::default() };
    let mut pool = WorkerPool::new(OWN_POOL, WorkerPoolSpec { replicas, ..chart.spec });
    // The workers' rights end at the namespace, and so does what they look at.
    let only =
        EnvVar { name: "WATCH_NAMESPACE".into(), value: Some(namespace.name().into()), value_from: None };
    let spec = pool.spec.template.spec.as_mut().context("the chart's pool has an empty template")?;
    let is_worker = |container: &&mut Container| container.name == labels::WORKER_CONTAINER;
    let worker = spec.containers.iter_mut().find(is_worker).context("the chart's pool has no worker")?;
    worker.env.get_or_insert_default().push(only);
    namespace.api().create(&post, &pool).await?;
    Ok(())
}

/// A job that is not done before the test is: the most pictures and the most steps, for each of which every picture counts.
pub(crate) fn endless_job(name: &str) -> GenerationJob {
    let mut job = photo_job(name, MOST_STEPS);
    let image = job.spec.input.image.get_or_insert_default();
    image.multi_image_mode = MultiImageMode::Multidiffusion;
    image.sources = image.sources.iter().cycle().take(8).cloned().collect();
    job
}

/// A job that takes some `seconds` on a worker of the namespace, by what a short one takes.
pub(crate) async fn job_of(namespace: &Namespace, name: &str, seconds: i64) -> Result<GenerationJob> {
    let steps = 4;
    create(namespace, photo_job("measure", steps)).await?;
    let timings = completed(namespace, "measure").await?.timings;
    let sampling = timings.iter().filter(|timing| timing.stage.contains("structure"));
    let milliseconds = sampling.map(|timing| timing.milliseconds).sum::<i64>() / i64::from(steps);
    let steps = seconds * 1000 / milliseconds.max(1);
    Ok(photo_job(name, i32::try_from(steps)?.clamp(1, MOST_STEPS)))
}

/// Creates a job for the namespace's own workers.
pub(crate) async fn create(namespace: &Namespace, mut job: GenerationJob) -> Result<()> {
    job.spec.pool = Some(OWN_POOL.to_owned());
    create_anywhere(namespace, &job).await
}

/// Creates a job for whatever pool takes it.
pub(crate) async fn create_anywhere(namespace: &Namespace, job: &GenerationJob) -> Result<()> {
    namespace.api().create(&PostParams::default(), job).await.context("cannot create the job")?;
    Ok(())
}

/// Deletes a job.
pub(crate) async fn delete(namespace: &Namespace, name: &str) -> Result<()> {
    namespace.api::<GenerationJob>().delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// Waits until a job has completed, and returns its status. A job that ends otherwise is waited for no longer.
pub(crate) async fn completed(namespace: &Namespace, name: &str) -> Result<GenerationJobStatus> {
    let job = ended(namespace, name).await?;
    ensure!(job.phase() == Phase::Completed, "{name} did not complete: {:#?}", job.status);
    job.status.context("a completed job without a status")
}

/// Waits until a job has ended, in whatever way.
pub(crate) async fn ended(namespace: &Namespace, name: &str) -> Result<GenerationJob> {
    wait(namespace, name, "at its end", |job| job.is_finished()).await
}

/// Waits until a job's worker says how far it is: from then on it is in the midst of it.
pub(crate) async fn underway(namespace: &Namespace, name: &str) -> Result<GenerationJob> {
    let job = wait(namespace, name, "under way", |job| {
        job.is_finished() || job.status.as_ref().is_some_and(|status| status.progress.is_some())
    })
    .await?;
    ensure!(!job.is_finished(), "{name} ended before anything could be done to it: {:#?}", job.status);
    Ok(job)
}

/// Waits until a job is as it should be.
pub(crate) async fn wait(
    namespace: &Namespace,
    name: &str,
    what: &str,
    is_so: impl Fn(&GenerationJob) -> bool,
) -> Result<GenerationJob> {
    let job = namespace.wait_for(name, what, LIMIT, |job: Option<&GenerationJob>| job.is_some_and(&is_so));
    job.await?.context("the job is gone")
}

/// The worker that has, or had, a job.
pub(crate) fn worker(job: &GenerationJob) -> Result<String> {
    Ok(job.assignment().context("the job has no worker")?.worker.clone())
}

/// The namespace's worker pods.
pub(crate) async fn workers(namespace: &Namespace) -> Result<Vec<Pod>> {
    let selector = format!("{}={}", labels::COMPONENT, labels::COMPONENT_WORKER);
    Ok(namespace.api().list(&ListParams::default().labels(&selector)).await?.items)
}

/// Waits until the operator has said that a job completed.
pub(crate) async fn announced(namespace: &Namespace, job: &str) -> Result<Event> {
    namespace.wait_for_event(job, "Completed", LIMIT).await
}
