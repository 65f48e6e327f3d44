//! What a pool is to be.

use super::WorkerPoolStatus;
use crate::InputKind;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What the pool is to be.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "trellis3d.dev",
    version = "v1alpha1",
    kind = "WorkerPool",
    namespaced,
    status = "WorkerPoolStatus",
    shortname = "wpool",
    category = "trellis",
    derive = "PartialEq",
    derive = "Default",
    validation = Rule::new("self.metadata.name.size() <= 50").message("metadata.name must have at most 50 characters"),
    scale(
        spec_replicas_path = ".spec.replicas.min",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    doc = "Workers that are alike: the same model on the same kind of machine. Each is a pod that keeps its model loaded and runs one GenerationJob after another.",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(
        name = "Idle",
        type_ = "integer",
        json_path = ".status.idle",
        description = "Workers that wait for a job"
    ),
    printcolumn(
        name = "Busy",
        type_ = "integer",
        json_path = ".status.busy",
        description = "Workers that run a job"
    ),
    printcolumn(
        name = "Queued",
        type_ = "integer",
        json_path = ".status.queued",
        description = "Jobs that wait for a worker of this pool"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Starting", type_ = "integer", json_path = ".status.starting", priority = "1"),
    printcolumn(name = "Draining", type_ = "integer", json_path = ".status.draining", priority = "1"),
    printcolumn(name = "Min", type_ = "integer", json_path = ".spec.replicas.min", priority = "1"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.replicas.max", priority = "1"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPoolSpec {
    /// The model's name, which jobs ask for in `spec.model`. Example: `trellis-image-large`.
    #[schemars(length(min = 1, max = 128))]
    pub model: String,

    /// Where the model folder is, the one with `pipeline.json` and `ckpts/`: `gs://bucket/prefix` or `file:///path` in the
    /// worker's file system. Workers keep a copy in `/var/cache/trellis`, together where the template mounts the same volume there. Example: `gs://my-bucket/models/TRELLIS-image-large`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^(gs://[^/]+/.+|file:///.+)$')")
            .message("write gs://bucket/prefix or file:///path")
    )]
    pub model_uri: String,

    /// The kinds of input the model takes: `image` (default), `text`, `variant`.
    #[serde(default = "images_alone")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub inputs: Vec<InputKind>,

    /// How many workers there are.
    #[serde(default)]
    pub replicas: Replicas,

    /// How long a worker beyond `replicas.min` stays without a job, in seconds, 0 to 86400 (default 300). Loading a model
    /// takes minutes, an idle GPU costs money.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 0, max = 86_400))]
    pub idle_seconds: i32,

    /// How long a job may wait for a worker, in seconds, 0 to 86400 (default 0: a worker for every job, up to `replicas.max`). With more,
    /// there are only as many as begin the last job of the queue within this time, by how long the pool's jobs took lately.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86_400))]
    pub target_wait_seconds: i32,

    /// How long a worker may take until it is ready, in seconds, 60 to 86400 (default 1800): from when its pod has a node, and before that
    /// from when the pod may have one. It covers pulling the image, and downloading and loading the model. Another takes the place of a
    /// worker that takes longer.
    #[serde(default = "half_an_hour")]
    #[schemars(range(min = 60, max = 86_400))]
    pub start_seconds: i32,

    /// How many jobs a worker runs before a new pod takes its place; 0 (default): no limit. 1 gives every job a pod of
    /// its own.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_jobs_per_worker: i32,

    /// How many jobs a worker computes at once, 1 to 16 (default 1): of those that wait, the ones with the same kind of input, number of
    /// images and sampling, and one sample each. No job waits for others to come. More needs more device memory.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub batch_size: i32,

    /// The device each worker gets. Workers compute on the CPU where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,

    /// The workers' pods: an ordinary pod template with a container named `worker`. The operator adds to that container what a
    /// worker needs (environment, port, probes, the accelerator, a restricted security context) where the template says nothing.
    #[schemars(schema_with = "pod_template")]
    #[x_kube(
        validation = Rule::new("self.spec.containers.exists(c, c.name == 'worker')")
            .message("name one of spec.containers worker: it is the one that runs the jobs")
    )]
    pub template: PodTemplateSpec,

    /// The Kueue LocalQueue that admits the workers' pods, where Kueue manages quota. Sets the label
    /// `kueue.x-k8s.io/queue-name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub queue_name: Option<String>,
}

/// How many workers a pool has.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.min <= self.max").message("min must not be larger than max; raise max first")
)]
pub struct Replicas {
    /// Workers that are kept without any job, 0 to 1000 (default 0). `kubectl scale` sets this.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub min: i32,

    /// The most workers there may be, 1 to 1000 (default 1).
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: i32,

    /// How many workers beyond `max` there may be while workers are replaced because the pool's template changed, 0 to 100 (default 1).
    /// With 0, where no more devices are to be had, a worker of a full pool ends before the next one starts.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub surge: i32,
}

impl Default for Replicas {
    fn default() -> Self {
        Replicas { min: 0, max: one(), surge: one() }
    }
}

/// The device each worker gets.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accelerator {
    /// The extended resource that the device plugin offers. Example: `nvidia.com/gpu`.
    #[schemars(length(min = 3, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[^/]+/[^/]+$')")
            .message("write the resource with its domain, such as nvidia.com/gpu")
    )]
    pub resource: String,

    /// How many of them, 1 to 16 (default 1).
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub count: i32,

    /// The kind of device on GKE: the node label `cloud.google.com/gke-accelerator`. Any where left out. Example: `nvidia-l4`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: Option<String>,

    /// Whether workers run on Spot nodes (GKE; default false): cheaper, and lost at half a minute's notice, which costs a job its progress
    /// but no attempt.
    #[serde(default)]
    pub spot: bool,
}

fn images_alone() -> Vec<InputKind> {
    vec![InputKind::Image]
}

fn five_minutes() -> i32 {
    300
}

fn half_an_hour() -> i32 {
    1800
}

fn one() -> i32 {
    1
}

/// The schema of a pod template, as far as the rules need it. All of it would make the definition too large for
/// `kubectl apply`; the API server checks the pods themselves.
fn pod_template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "description": "The pod's specification, as in a Pod. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/",
                "x-kubernetes-preserve-unknown-fields": true,
                "required": ["containers"],
                "properties": {
                    "containers": {
                        "type": "array",
                        "description": "The pod's containers, as in a Pod; one must be named worker.",
                        "minItems": 1,
                        "maxItems": 16,
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": true,
                            "required": ["name"],
                            "properties": {
                                "name": {
                                    "type": "string",
                                    "description": "The container's name.",
                                    "minLength": 1,
                                    "maxLength": 63
                                }
                            }
                        }
                    }
                }
            }
        }
    })
}
