//! Jobs as clients see them.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use trellis_crds::{
    DeliveryState, FailureReason, GenerationJob, InputKind, OutputFile, Phase, Webhook, WebhookDelivery,
    WebhookEvent, WebhookStatus, conditions,
};
use utoipa::ToSchema;

use super::page::Totals;
use super::store::Seen;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Processing,
    /// The files are there.
    Completed,
    /// Failed for good.
    Failed,
    /// Was cancelled.
    Cancelled,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

impl From<Phase> for Status {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Processing => Self::Processing,
            Phase::Completed => Self::Completed,
            Phase::Failed => Self::Failed,
            Phase::Cancelled => Self::Cancelled,
        }
    }
}

/// What a job makes an asset of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Images.
    Image,
    /// A description.
    Text,
    /// A mesh and a description.
    Variant,
}

impl From<Kind> for InputKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Image => Self::Image,
            Kind::Text => Self::Text,
            Kind::Variant => Self::Variant,
        }
    }
}

/// A job that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "gj-01jd3y8w5x4k2m9v7t6r5q4p3n",
    "status": "pending",
    "created_at": "2026-11-24T07:30:00Z",
    "links": {
        "self": "/api/v1/jobs/gj-01jd3y8w5x4k2m9v7t6r5q4p3n",
        "status": "/api/v1/jobs/gj-01jd3y8w5x4k2m9v7t6r5q4p3n/status",
        "events": "/api/v1/jobs/gj-01jd3y8w5x4k2m9v7t6r5q4p3n/events",
        "result": "/api/v1/jobs/gj-01jd3y8w5x4k2m9v7t6r5q4p3n/result",
    },
}))]
pub(crate) struct JobResponse {
    /// The job's id.
    pub id: String,
    /// Where the job is.
    pub status: Status,
    /// When the request was accepted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// Where to go on.
    pub links: Links,
}

/// Paths of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Links {
    /// All about the job. `DELETE` ends it.
    #[serde(rename = "self")]
    pub own: String,
    /// How far it is.
    pub status: String,
    /// A stream of that.
    pub events: String,
    /// Its asset, once it is completed.
    pub result: String,
}

/// How far a job is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobStatus {
    /// The job's id.
    #[schema(example = "gj-01jd3y8w5x4k2m9v7t6r5q4p3n")]
    pub id: String,
    /// Where the job is.
    pub status: Status,
    /// Why it is still pending, in a word, e.g. `NoIdleWorker`, `BackingOff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its place among the jobs of this API that wait for the same pool, 1 for the next, while it is pending. None while no worker may take it,
    /// such as before another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, example = 3)]
    pub queue_position: Option<usize>,
    /// How far the attempt that runs is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Attempts so far that failed.
    pub failed_attempts: i32,
    /// When the request was accepted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When the attempt that completed the job started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When the job ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// When the job will presumably be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub estimated_completion_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// How far an attempt is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Progress {
    /// The stage that runs.
    #[schema(example = "structured_latent")]
    pub stage: String,
    /// Percent done of the whole attempt, 0 to 100.
    pub percent: i32,
}

/// Why a job failed for good.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobError {
    /// Why, for programs: the code of the problem that its result is refused with.
    pub code: FailureCode,
    /// The reason in the word of the resource: `InvalidInput`, `Transient`, `OutOfMemory`, `Internal`, `WorkerCrashed`, `NoSignOfLife` or
    /// `DeadlineExceeded`.
    #[schema(example = "OutOfMemory")]
    pub reason: String,
    /// What happened, and what to do.
    pub message: String,
    /// Whether the same request may succeed when it is sent again.
    pub retryable: bool,
}

/// Why a job failed, as far as it makes a difference to whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the codes of the table of problems, letter by letter")]
pub(crate) enum FailureCode {
    /// Its input cannot become an asset.
    JobInputRefused,
    /// A deadline of it passed.
    JobDeadlinePassed,
    /// The workers failed.
    JobFailed,
}

impl FailureCode {
    fn of(reason: &str) -> Self {
        match reason {
            conditions::reason::DEADLINE_EXCEEDED => Self::JobDeadlinePassed,
            reason if reason == FailureReason::InvalidInput.as_str() => Self::JobInputRefused,
            _ => Self::JobFailed,
        }
    }
}

/// All about a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    /// How far it is.
    #[serde(flatten)]
    pub status: JobStatus,
    /// What it makes an asset of.
    pub input: Kind,
    /// The description, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The preset.
    #[schema(value_type = crate::request::Quality)]
    pub quality: trellis_crds::Quality,
    /// The files it is to make.
    #[schema(value_type = Vec<crate::request::Format>)]
    pub output_formats: Vec<trellis_crds::Format>,
    /// The seed: the one asked for, or the one that was drawn, once it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// The worker pool asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The files it made.
    pub outputs: Vec<OutputView>,
    /// How long each stage took.
    pub timings: Vec<Timing>,
    /// The most memory of the worker's GPU, or without one of the worker, that was held meanwhile.
    pub peak_memory_bytes: Option<i64>,
    /// Who is told what becomes of it, and what they were told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookView>,
    /// Where to go on.
    pub links: Links,
}

/// Who is told what becomes of a job, and what they were told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookView {
    /// The address that messages go to.
    pub url: String,
    /// What is told: `start`, `progress`, `completed`, `failed`, `cancelled`.
    #[schema(value_type = Vec<crate::request::WebhookEvent>)]
    pub events: Vec<WebhookEvent>,
    /// What became of each message but those of progress.
    pub deliveries: Vec<DeliveryView>,
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// What it tells.
    #[schema(value_type = crate::request::WebhookEvent)]
    pub event: WebhookEvent,
    /// Its `webhook-id`.
    pub id: String,
    /// `pending`, `delivered`, or `dead`: it was given up.
    pub state: &'static str,
    /// How many times it was tried.
    pub attempts: i32,
    /// When it was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_attempt_at: Option<Timestamp>,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A file that a job made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutputView {
    /// `glb`, `obj`, `ply`, `stl`, `usdz`, `preview` or `manifest`.
    #[schema(example = "glb")]
    pub format: String,
    /// Its size.
    pub bytes: i64,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
    /// Where to fetch it.
    pub url: String,
}

/// How long a stage took.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Timing {
    /// The stage.
    pub stage: String,
    /// Its duration.
    pub milliseconds: i64,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    /// The jobs, the newest first.
    pub jobs: Vec<JobStatus>,
    /// The `cursor` of the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// How many jobs there are on all pages, whatever `status` was asked for.
    pub totals: Totals,
}

impl From<&GenerationJob> for JobResponse {
    fn from(job: &GenerationJob) -> Self {
        Self { id: job.name_any(), status: job.phase().into(), created_at: created(job), links: links(job) }
    }
}

impl From<&GenerationJob> for JobStatus {
    fn from(job: &GenerationJob) -> Self {
        let status = job.status.clone().unwrap_or_default();
        let time = |time: Option<MicroTime>| time.map(|MicroTime(time)| time);
        let scheduled = conditions::get(&status.conditions, conditions::SCHEDULED);
        let waits = scheduled.filter(|condition| job.phase() == Phase::Pending && condition.status != "True");
        Self {
            id: job.name_any(),
            status: job.phase().into(),
            reason: waits.map(|condition| condition.reason.clone()),
            queue_position: None,
            progress: status
                .progress
                .filter(|_| job.phase() == Phase::Processing)
                .map(|progress| Progress { stage: progress.stage, percent: progress.percent }),
            failed_attempts: status.failures,
            created_at: created(job),
            started_at: time(status.start_time),
            completed_at: time(status.completion_time),
            estimated_completion_at: time(status.estimated_completion_time),
            error: status.error.map(JobError::from),
        }
    }
}

impl From<&Seen> for JobStatus {
    fn from(seen: &Seen) -> Self {
        Self { queue_position: seen.queue_position, ..Self::from(&*seen.job) }
    }
}

impl From<&Seen> for Job {
    fn from(seen: &Seen) -> Self {
        Self { status: seen.into(), ..Self::from(&*seen.job) }
    }
}

impl From<&GenerationJob> for Job {
    fn from(job: &GenerationJob) -> Self {
        let (spec, status) = (&job.spec, job.status.clone().unwrap_or_default());
        let input = match &spec.input {
            trellis_crds::Input { text: Some(_), .. } => Kind::Text,
            trellis_crds::Input { variant: Some(_), .. } => Kind::Variant,
            _ => Kind::Image,
        };
        Self {
            status: job.into(),
            input,
            prompt: spec.input.text.as_ref().map(|text| text.prompt.clone()),
            quality: spec.quality,
            output_formats: spec.output.formats.clone(),
            seed: status.seed.or(spec.sampling.seed),
            pool: spec.pool.clone(),
            outputs: outputs(job, &status.outputs),
            timings: status
                .timings
                .into_iter()
                .map(|timing| Timing { stage: timing.stage, milliseconds: timing.milliseconds })
                .collect(),
            peak_memory_bytes: status.peak_memory_bytes,
            webhook: spec.webhook.as_ref().map(|webhook| told(webhook, status.webhook.unwrap_or_default())),
            links: links(job),
        }
    }
}

impl From<trellis_crds::JobError> for JobError {
    fn from(error: trellis_crds::JobError) -> Self {
        Self {
            code: FailureCode::of(&error.code),
            reason: error.code,
            message: error.message,
            retryable: error.retryable,
        }
    }
}

fn told(webhook: &Webhook, status: WebhookStatus) -> WebhookView {
    let deliveries = status.deliveries.into_iter().map(DeliveryView::from).collect();
    WebhookView { url: webhook.url.clone(), events: webhook.events.clone(), deliveries }
}

impl From<WebhookDelivery> for DeliveryView {
    fn from(delivery: WebhookDelivery) -> Self {
        let state = match delivery.state {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
        };
        Self {
            event: delivery.event,
            id: delivery.id,
            state,
            attempts: delivery.attempts,
            last_attempt_at: delivery.last_attempt_time.map(|time| time.0),
            next_attempt_at: delivery.next_attempt_time.map(|time| time.0),
            message: delivery.message,
        }
    }
}

/// The name by which clients ask for a file: its format, but for the two that stand beside the asset.
#[must_use]
pub(crate) fn format_name(file: &OutputFile) -> &str {
    match file.format.as_str() {
        "png" => "preview",
        "json" => "manifest",
        other => other,
    }
}

/// The files with the addresses that lead to them: of several samples each has its own.
fn outputs(job: &GenerationJob, files: &[OutputFile]) -> Vec<OutputView> {
    let view = |(place, file): (usize, &OutputFile)| {
        let format = format_name(file).to_owned();
        let sample = files[..place].iter().filter(|before| before.format == file.format).count();
        let which = if sample == 0 { String::new() } else { format!("&sample={sample}") };
        let url = format!("{}?format={format}{which}", links(job).result);
        OutputView { format, bytes: file.bytes, sha256: file.sha256.clone(), url }
    };
    files.iter().enumerate().map(view).collect()
}

fn links(job: &GenerationJob) -> Links {
    let own = format!("/api/v1/jobs/{}", job.name_any());
    let below = |name| format!("{own}/{name}");
    Links { status: below("status"), events: below("events"), result: below("result"), own }
}

fn created(job: &GenerationJob) -> Option<Timestamp> {
    job.creation_timestamp().map(|Time(time)| time)
}
