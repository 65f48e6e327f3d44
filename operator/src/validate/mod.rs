//! From objects as the API server sends them to values that planning can rely on. Pure.

mod ending;
mod job;
mod pool;
mod worker;

pub(crate) use ending::Crash;
pub(crate) use job::Job;
pub(crate) use pool::{MODEL, POOL_HASH, Pool};
pub(crate) use worker::{Life, Trouble, Worker};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::key::{Key, Uid};

/// Why an object cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    /// The API server always sets this field.
    #[error("it has no metadata.{0}")]
    Unstored(&'static str),
    /// The schema refuses such a job.
    #[error("spec.input has none of image, text and variant")]
    NoInput,
    /// A pod with the labels of a worker that no pool controls.
    #[error("no WorkerPool controls it; remove the label trellis3d.dev/pool from pods that are no workers")]
    NoPool,
}

/// What every object has once it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) key: Key,
    pub(crate) created: Timestamp,
    /// `metadata.resourceVersion` as the number that it is; of two states of an object, the higher is the newer.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
    pub(crate) version: u64,
}

impl Identity {
    fn of(meta: &ObjectMeta) -> Result<Self, Invalid> {
        let name = meta.name.as_deref().ok_or(Invalid::Unstored("name"))?;
        let namespace = meta.namespace.as_deref().ok_or(Invalid::Unstored("namespace"))?;
        let uid = meta.uid.as_deref().ok_or(Invalid::Unstored("uid"))?;
        let created = meta.creation_timestamp.as_ref().ok_or(Invalid::Unstored("creationTimestamp"))?;
        let version = meta.resource_version.as_deref().and_then(|version| version.parse().ok());
        Ok(Self {
            uid: uid.into(),
            key: Key::new(namespace, name),
            created: created.0,
            version: version.ok_or(Invalid::Unstored("resourceVersion"))?,
        })
    }
}
