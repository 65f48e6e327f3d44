//! What became of a job.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WebhookStatus;

/// How many ended attempts a status keeps.
pub const MAX_ATTEMPTS: usize = 10;
/// How many files a status lists.
pub const MAX_OUTPUTS: usize = 32;

/// What became of the job.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationJobStatus {
    /// The `metadata.generation` that this status answers to; -1: nothing has looked at the job yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Where the job is: `Pending`, `Processing`, `Completed`, `Failed` or `Cancelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// `Accepted`, `Scheduled`, `Ready` (the files are there), `Reconciling`, `Stalled` (failed for good) and `Suspended`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The worker that has the job, or had it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,

    /// How far the current attempt is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,

    /// The attempts that ended, the last 10, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub attempts: Vec<Attempt>,

    /// How many attempts failed and count against `spec.backoffLimit`.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub failures: i32,

    /// When the attempt that completed the job started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<MicroTime>,

    /// When the job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<MicroTime>,

    /// When the job will presumably be done, by how long the pool's last jobs ran. Of a job that waits: as it looked when it
    /// was told what it waits for. None where nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<MicroTime>,

    /// The files that were made, the preview and the manifest among them; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub outputs: Vec<OutputFile>,

    /// How long each stage of the completed attempt took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub timings: Vec<StageTiming>,

    /// The most memory of the worker's GPU, or without one of the worker, that was held while the completed attempt ran, the model's
    /// included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<i64>,

    /// The seed that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,

    /// Why the job failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,

    /// What the webhook was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookStatus>,
}

impl GenerationJobStatus {
    /// Adds an ended attempt and drops the oldest where there are more than [`MAX_ATTEMPTS`].
    pub fn record_attempt(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
        let surplus = self.attempts.len().saturating_sub(MAX_ATTEMPTS);
        self.attempts.drain(..surplus);
    }
}

fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// Where the job is: `Pending`, `Processing`, `Completed`, `Failed` or `Cancelled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Waits for a worker.
    #[default]
    Pending,
    /// A worker has it.
    Processing,
    /// The files are there.
    Completed,
    /// Failed for good.
    Failed,
    /// Ended by `spec.cancel`.
    Cancelled,
}

impl Phase {
    /// Every phase, in the order of a job's life.
    pub const ALL: [Phase; 5] =
        [Phase::Pending, Phase::Processing, Phase::Completed, Phase::Failed, Phase::Cancelled];

    /// Whether a job stays in this phase.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Completed | Phase::Failed | Phase::Cancelled)
    }

    /// The name as it stands in `status.phase`.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Processing => "Processing",
            Phase::Completed => "Completed",
            Phase::Failed => "Failed",
            Phase::Cancelled => "Cancelled",
        }
    }
}

/// Which worker has a job.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The worker's pool: `name`, or `namespace/name` where it is in another namespace than the job.
    #[schemars(length(max = 317))]
    pub pool: String,

    /// The worker pod's name.
    #[schemars(length(max = 253))]
    pub worker: String,

    /// The worker pod's uid: a new pod of the same name is another worker.
    #[schemars(length(max = 64))]
    pub pod_uid: String,

    /// The attempt's number; the first is 1.
    #[schemars(range(min = 1))]
    pub attempt: i32,

    /// When the job was assigned.
    pub time: MicroTime,

    /// With how many jobs together, itself among them, where with more than itself. They were assigned at the same time, and are computed in
    /// the same forward passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 16))]
    pub batch: Option<i32>,
}

/// How far an attempt is.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The stage that runs.
    #[schemars(length(max = 64))]
    pub stage: String,

    /// Percent done of the whole attempt, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,

    /// When this was written.
    pub updated_at: MicroTime,
}

/// An attempt that ended.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The attempt's number; the first is 1.
    #[schemars(range(min = 1))]
    pub number: i32,

    /// The worker pod's name.
    #[schemars(length(max = 253))]
    pub worker: String,

    /// When it started; when it was assigned, if its worker never said.
    pub start: MicroTime,

    /// When it ended.
    pub end: MicroTime,

    /// How it ended: `Succeeded`, `Failed`, `HandedBack` (the pod was to end) or `Lost` (the pod is gone, or did nothing). Only `Failed`
    /// counts against `spec.backoffLimit`.
    pub outcome: Outcome,

    /// Why it failed: `InvalidInput` (never tried again), `Transient`, `OutOfMemory`, `Internal`, `WorkerCrashed` or `NoSignOfLife`. With
    /// the outcome `Lost`: what the worker did by itself, which counts from the third time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,

    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The files are there.
    Succeeded,
    /// It failed, and that counts.
    Failed,
    /// The worker gave the job back because its pod is to end.
    HandedBack,
    /// The worker's pod is gone, or did nothing.
    Lost,
}

/// Why the attempt failed: `InvalidInput` (never tried again), `Transient`, `OutOfMemory`, `Internal`, `WorkerCrashed` or `NoSignOfLife`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// The input cannot become an asset: trying again is of no use.
    InvalidInput,
    /// Something outside failed that may work the next time: network, storage.
    Transient,
    /// Memory of the device or of the container ran out.
    OutOfMemory,
    /// A fault of the worker.
    Internal,
    /// The worker's container ended in mid-run.
    WorkerCrashed,
    /// The worker did not begin within `spec.deadlines.startSeconds`.
    NoSignOfLife,
}

impl FailureReason {
    /// The name as it stands in `reason`, and in `status.error.code` when it was the last.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReason::InvalidInput => "InvalidInput",
            FailureReason::Transient => "Transient",
            FailureReason::OutOfMemory => "OutOfMemory",
            FailureReason::Internal => "Internal",
            FailureReason::WorkerCrashed => "WorkerCrashed",
            FailureReason::NoSignOfLife => "NoSignOfLife",
        }
    }
}

/// A file that a job made.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputFile {
    /// What it is: one of `spec.output.formats`, `png` (the preview) or `json` (the manifest).
    #[schemars(length(max = 16))]
    pub format: String,

    /// Where it is.
    #[schemars(length(max = 2048))]
    pub uri: String,

    /// Its size in bytes.
    #[schemars(range(min = 0))]
    pub bytes: i64,

    /// Its SHA-256 in lower-case hex.
    #[schemars(length(max = 64))]
    pub sha256: String,
}

/// How long a stage took.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageTiming {
    /// The stage.
    #[schemars(length(max = 64))]
    pub stage: String,

    /// How long it took, in milliseconds.
    #[schemars(range(min = 0))]
    pub milliseconds: i64,
}

/// Why a job failed for good.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobError {
    /// For programs: the reason of the last attempt (`InvalidInput`, `Transient`, `OutOfMemory`, `Internal`, `WorkerCrashed`,
    /// `NoSignOfLife`) or `DeadlineExceeded`.
    #[schemars(length(max = 64))]
    pub code: String,

    /// For people: what happened, and what to do.
    #[schemars(length(max = 2048))]
    pub message: String,

    /// Whether a new job with the same specification may succeed.
    pub retryable: bool,
}
