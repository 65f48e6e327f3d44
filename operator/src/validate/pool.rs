//! A WorkerPool that planning can rely on.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::SignedDuration;
use sha2::{Digest as _, Sha256};
use trellis_crds::{WorkerPool, WorkerPoolSpec, WorkerPoolStatus};

use super::{Identity, Invalid};
use crate::pod;
use crate::settings::Settings;

/// On a worker pod: a hash of what it was built from. A worker with another hash than its pool's is replaced by and by.
pub(crate) const POOL_HASH: &str = "trellis3d.dev/pool-hash";
/// On a worker pod: the name of the model that it runs. Jobs ask for a model, so a worker with another one than its pool's gets none.
pub(crate) const MODEL: &str = "trellis3d.dev/model";

/// A WorkerPool as it is stored, and the pod that its workers are made from.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) identity: Identity,
    pub(crate) object: Arc<WorkerPool>,
    /// The worker pod, or why none can be made.
    pub(crate) pod: Result<Arc<Pod>, String>,
    /// The value of [`POOL_HASH`].
    pub(crate) hash: String,
}

impl Pool {
    pub(crate) fn new(mut object: WorkerPool, settings: &Settings) -> Result<Self, Invalid> {
        object.metadata.managed_fields = None;
        let identity = Identity::of(&object.metadata)?;
        let built = pod::build(&object, settings).map_err(|error| error.to_string());
        let hash = built.as_ref().map(hash).unwrap_or_default();
        let pod = built.map(|mut pod| {
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(POOL_HASH.into(), hash.clone());
            annotations.insert(MODEL.into(), object.spec.model.clone());
            Arc::new(pod)
        });
        Ok(Self { identity, object: Arc::new(object), pod, hash })
    }

    pub(crate) fn spec(&self) -> &WorkerPoolSpec {
        &self.object.spec
    }

    pub(crate) fn status(&self) -> Option<&WorkerPoolStatus> {
        self.object.status.as_ref()
    }

    pub(crate) fn min(&self) -> usize {
        usize::try_from(self.spec().replicas.min).unwrap_or(0)
    }

    pub(crate) fn max(&self) -> usize {
        usize::try_from(self.spec().replicas.max).unwrap_or(0)
    }

    /// How many workers beyond the maximum there may be while workers are replaced.
    pub(crate) fn surge(&self) -> usize {
        usize::try_from(self.spec().replicas.surge).unwrap_or(0)
    }

    /// How long jobs may wait for a worker.
    pub(crate) fn target_wait(&self) -> SignedDuration {
        SignedDuration::from_secs(self.spec().target_wait_seconds.into())
    }

    /// How many jobs a worker computes at once.
    pub(crate) fn batch_size(&self) -> usize {
        usize::try_from(self.spec().batch_size).unwrap_or(1).max(1)
    }

    /// How many jobs a worker may take; `None`: any number.
    pub(crate) fn jobs_per_worker(&self) -> Option<u32> {
        u32::try_from(self.spec().max_jobs_per_worker).ok().filter(|limit| *limit > 0)
    }
}

/// Sixteen hex digits of the SHA-256 of the pod's JSON, whose maps are ordered.
fn hash(pod: &Pod) -> String {
    let json = serde_json::to_vec(&pod.spec).unwrap_or_default();
    hex::encode(Sha256::digest(json)).chars().take(16).collect()
}
