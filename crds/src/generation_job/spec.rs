//! What a user asks for.

use super::{GenerationJobStatus, Input, Output, Quality, Sampling, Webhook};
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The message of the rules that keep a job what it is: what was accepted is what a worker computes.
const FIXED: &str = "cannot change after creation; create another GenerationJob";

/// What is asked for. Only suspend, cancel, priority, ttlSecondsAfterFinished and ttlSecondsAfterFailed may change later.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "trellis3d.dev",
    version = "v1alpha1",
    kind = "GenerationJob",
    namespaced,
    status = "GenerationJobStatus",
    shortname = "gj",
    category = "trellis",
    derive = "PartialEq",
    derive = "Default",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name must have at most 63 characters"),
    selectable = ".status.phase",
    selectable = ".status.assignment.worker",
    selectable = ".spec.webhook.url",
    doc = "One request for a 3D asset. A worker of a fitting WorkerPool turns the input into files; the status says how far it is and where they are.",
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Pending, Processing, Completed, Failed or Cancelled"
    ),
    printcolumn(
        name = "Progress",
        type_ = "integer",
        json_path = ".status.progress.percent",
        description = "Percent done of the attempt that runs"
    ),
    printcolumn(
        name = "Worker",
        type_ = "string",
        json_path = ".status.assignment.worker",
        description = "The pod that has the job"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Model",
        type_ = "string",
        json_path = ".spec.model",
        priority = "1",
        description = "The model asked for; empty: the pool's"
    ),
    printcolumn(name = "Quality", type_ = "string", json_path = ".spec.quality", priority = "1"),
    printcolumn(
        name = "Attempts",
        type_ = "integer",
        json_path = ".status.assignment.attempt",
        priority = "1",
        description = "The number of the current or last attempt"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1",
        description = "Why it is or isn't ready"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = fixed("model"),
    validation = fixed("pool"),
    validation = fixed("webhook")
)]
pub struct GenerationJobSpec {
    /// What the asset is made from: exactly one of image, text and variant.
    #[x_kube(validation = Rule::new("self == oldSelf").message(FIXED))]
    pub input: Input,

    /// The model by name, where a pool must run this one and no other. The model of the pool that takes the job where
    /// left out. Example: `trellis-image-large`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub model: Option<String>,

    /// Sets what `sampling` and `output.mesh` leave out. `fast`: 12 steps, texture of 1024 pixels; `balanced` (default):
    /// 25 steps, 1024 pixels; `high`: 50 steps, 2048 pixels.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message(FIXED))]
    pub quality: Quality,

    /// How the model samples.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message(FIXED))]
    pub sampling: Sampling,

    /// Which files to make, and where they go.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message(FIXED))]
    pub output: Output,

    /// The WorkerPool by name, in the job's namespace or the operator's. Any pool that serves the kind of input where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub pool: Option<String>,

    /// Which waiting job goes first, -1000 to 1000 (default 0): a job goes before those that are up to a minute older for each step of
    /// priority that they have less. So nothing waits for ever: no job that is created `n` minutes later goes before one of a priority `n`
    /// lower. Jobs that run are not interrupted.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,

    /// How many failed attempts are followed by another one, 0 to 20 (default 3). Lost workers do not count, and an
    /// input that is invalid is never tried again.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 20))]
    #[x_kube(validation = Rule::new("self == oldSelf").message(FIXED))]
    pub backoff_limit: i32,

    /// How long each part of the job may take.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message(FIXED))]
    pub deadlines: Deadlines,

    /// When to delete the job after it ended, in seconds, 0 to 31536000. Never where left out. Its files stay. Leave it out for
    /// jobs that Argo CD or Flux applies: they would create, and run, the deleted job again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i32>,

    /// The same for a job that failed, 0 to 31536000: failures are often worth a longer look. As `ttlSecondsAfterFinished` where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_failed: Option<i32>,

    /// Holds the job back while true (default false). A running attempt ends and is not counted; the job starts anew when this is false again.
    #[serde(default)]
    pub suspend: bool,

    /// Ends the job for good when true (default false). Cannot be taken back.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("self || !oldSelf")
            .message("a cancelled job stays cancelled; create another GenerationJob")
    )]
    pub cancel: bool,

    /// Whom to tell what becomes of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// The rule that the optional field `name` stays as it is, absence included.
fn fixed(name: &str) -> Rule {
    let rule = format!(
        "has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
    );
    Rule::new(rule).message(FIXED).field_path(format!(".{name}"))
}

impl Default for GenerationJobSpec {
    fn default() -> Self {
        GenerationJobSpec {
            input: Input::default(),
            model: None,
            quality: Quality::default(),
            sampling: Sampling::default(),
            output: Output::default(),
            pool: None,
            priority: 0,
            backoff_limit: three(),
            deadlines: Deadlines::default(),
            ttl_seconds_after_finished: None,
            ttl_seconds_after_failed: None,
            suspend: false,
            cancel: false,
            webhook: None,
        }
    }
}

fn three() -> i32 {
    3
}

/// How long each part of a job may take.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    /// How long the job may wait for its first worker, in seconds, from its creation, or from when `suspend` was taken back; it fails
    /// after that. No limit where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub queue_seconds: Option<i32>,

    /// How long an assigned worker may take to its first sign of life, in seconds, 30 to 86400 (default 300); the attempt is lost after
    /// that and the job goes to another worker. Workers give the first sign after 5 s.
    #[serde(default = "start_seconds")]
    #[schemars(range(min = 30, max = 86_400))]
    pub start_seconds: i32,

    /// How long one attempt may run, in seconds (default 3600); it failed after that.
    #[serde(default = "run_seconds")]
    #[schemars(range(min = 1, max = 604_800))]
    pub run_seconds: i32,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines { queue_seconds: None, start_seconds: start_seconds(), run_seconds: run_seconds() }
    }
}

fn start_seconds() -> i32 {
    300
}

fn run_seconds() -> i32 {
    3600
}
