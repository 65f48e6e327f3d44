//! The worker pod, from a pool's template. Pure.
//!
//! What the template says wins; the operator adds what it leaves open.

mod container;
mod name;
mod placement;
mod security;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, PodSpec, Volume, VolumeMount};
use kube::Resource as _;
use kube::api::ObjectMeta;
use trellis_crds::WorkerPool;
use trellis_crds::labels;

use crate::settings::Settings;

pub(crate) use name::name;

/// The label by which Kueue takes a pod into one of its queues. <https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/>
const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// Where workers keep downloaded models.
const CACHE_DIR: &str = "/var/cache/trellis";

/// Why no pod can be made from a pool.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("spec.template has no container named worker: name the one that runs trellis-worker so")]
    NoWorkerContainer,
    #[error("spec.template has no spec")]
    NoSpec,
}

/// The pod of a worker of `pool`, without its name.
pub(crate) fn build(pool: &WorkerPool, settings: &Settings) -> Result<Pod, BuildError> {
    let template = pool.spec.template.clone();
    let mut spec = template.spec.ok_or(BuildError::NoSpec)?;
    container::complete(&mut spec, pool, settings)?;
    placement::complete(&mut spec, pool.spec.accelerator.as_ref());
    security::complete(&mut spec);
    ensure_folder(&mut spec, "cache", CACHE_DIR);
    ensure_folder(&mut spec, "tmp", "/tmp");
    // A container that ends is a fact to decide on: the operator replaces the pod.
    spec.restart_policy = Some("Never".into());
    spec.service_account_name.get_or_insert_with(|| settings.worker_service_account.clone());
    let metadata = template.metadata.unwrap_or_default();
    Ok(Pod {
        metadata: ObjectMeta {
            namespace: pool.metadata.namespace.clone(),
            labels: Some(with_labels(metadata.labels.unwrap_or_default(), pool)),
            annotations: metadata.annotations,
            owner_references: pool.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

fn with_labels(mut labels: BTreeMap<String, String>, pool: &WorkerPool) -> BTreeMap<String, String> {
    let mut set = |label: &str, value: &str| labels.insert(label.to_owned(), value.to_owned());
    set(labels::POOL, pool.metadata.name.as_deref().unwrap_or_default());
    set(labels::NAME, labels::NAME_TRELLIS);
    set(labels::COMPONENT, labels::COMPONENT_WORKER);
    set(labels::MANAGED_BY, labels::MANAGED_BY_OPERATOR);
    if let Some(queue) = &pool.spec.queue_name {
        set(KUEUE_QUEUE, queue);
    }
    labels
}

/// Gives the worker an empty folder at `path`, unless the template mounts something there.
fn ensure_folder(spec: &mut PodSpec, name: &str, path: &str) {
    let Some(worker) = container::worker(spec) else { return };
    let mounts = worker.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path) {
        return;
    }
    let name = format!("trellis-{name}");
    mounts.push(VolumeMount { name: name.clone(), mount_path: path.into(), ..VolumeMount::default() });
    let empty = Some(EmptyDirVolumeSource::default());
    spec.volumes.get_or_insert_default().push(Volume { name, empty_dir: empty, ..Volume::default() });
}
