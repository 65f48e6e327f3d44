//! What a pool is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the pool is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPoolStatus {
    /// The `metadata.generation` that this status answers to; -1: nothing has looked at the pool yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// All workers that are there: starting, idle, busy and draining.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub replicas: i32,

    /// Workers whose pod is there but whose model is not loaded yet.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub starting: i32,

    /// Workers that wait for a job.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub idle: i32,

    /// Workers that run a job.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub busy: i32,

    /// Workers that end and get no job any more.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub draining: i32,

    /// Jobs that wait for a worker of this pool.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub queued: i32,

    /// The label selector of the workers' pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,

    /// Set while the pool's circuit is open: its workers failed at one job after another, so that the others wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<OpenCircuit>,

    /// `Ready` (a worker is ready, or none is needed), `Reconciling` and `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Why a pool's jobs wait though it has workers: these failed at one job after another.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenCircuit {
    /// From when on one job at a time is tried.
    pub retry_time: MicroTime,

    /// How often the circuit was opened since a job worked; each time the pause is twice as long, up to ten minutes.
    #[schemars(range(min = 1))]
    pub openings: i32,
}
