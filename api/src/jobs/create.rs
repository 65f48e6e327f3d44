//! From a request to a job, once.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use trellis_crds::{GenerationJob, labels};
use trellis_telemetry::TraceParent;

use super::inputs::InputError;
use super::{JobError, JobId, build};
use crate::app::App;
use crate::auth::Caller;
use crate::cluster::{ClusterError, Violation};
use crate::limits::quotas::{Admission, QuotaError};
use crate::pools::{self, PoolError, Wanted};
use crate::request::{Generate, IdempotencyKey};
use crate::rules;
use crate::webhooks::WebhookRefused;

/// Why no job was made of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// It breaks rules of the resource.
    #[error("the request breaks rules of the resource")]
    Rules(Vec<Violation>),
    /// The user has as many jobs as may be.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// No pool would take it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Its files cannot be had.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Its webhook cannot be told anything.
    #[error(transparent)]
    Webhook(#[from] WebhookRefused),
    /// Whether its Idempotency-Key was used before cannot be found out.
    #[error(transparent)]
    Before(JobError),
    /// The API server does not take it, or cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Its Idempotency-Key stands for another request.
    #[error("This Idempotency-Key was used for another request. Take a new key for a new request.")]
    KeyReused,
}

/// Makes a job of `request`, which is part of `trace`; with a `key` that was used for the same request before, returns the job that was made then,
/// also when only its record is left.
pub(crate) async fn create(
    app: &App,
    caller: &Caller,
    key: Option<&IdempotencyKey>,
    request: &Generate,
    trace: &TraceParent,
) -> Result<Arc<GenerationJob>, CreateError> {
    let (id, digest) = (build::id(caller, key), build::digest(request));
    if key.is_some() {
        match app.jobs.find(caller, &id).await {
            Ok(job) => return same_request(job, &digest),
            Err(JobError::NotFound) => {}
            Err(error) => return Err(CreateError::Before(error)),
        }
    }
    let violations = rules::check(&build::draft(request));
    if !violations.is_empty() {
        return Err(CreateError::Rules(violations));
    }
    if let Some(webhook) = &request.options.webhook {
        app.webhooks.check(&webhook.url)?;
    }
    // Before the first reading there seems to be no pool.
    app.health.ready().map_err(ClusterError::Unavailable)?;
    pools::check(&app.pools.state(), &caller.namespace, &app.settings.pool_namespace, Wanted::by(request))?;

    let admission = admit(app, caller, &id)?;
    let uris = app.inputs.store(caller, &id, &request.input).await?;
    let mut job = build::job(&id, caller, digest.clone(), build::spec(request, &uris));
    if let Some(trace) = trace.to_text() {
        job.annotations_mut().insert(labels::TRACEPARENT.into(), trace);
    }
    match app.jobs.create(caller, &job).await {
        Ok(job) => {
            admission.keep();
            Ok(Arc::new(job))
        }
        Err(ClusterError::AlreadyExists) => same_request(made_meanwhile(app, caller, &id).await?, &digest),
        Err(error) => Err(error.into()),
    }
}

/// Counts the job against the caller's quota, before anything is fetched or stored for it.
fn admit(app: &App, caller: &Caller, id: &JobId) -> Result<Admission, QuotaError> {
    let quota = app.policy.borrow().quotas.of(&caller.user);
    app.quotas.admit(quota, caller, id, || app.jobs.made_by(caller), Timestamp::now())
}

/// The job that another request with the same key has made since we looked.
async fn made_meanwhile(app: &App, caller: &Caller, id: &JobId) -> Result<Arc<GenerationJob>, CreateError> {
    // Deleted again, or of another user: the key cannot be used now.
    app.jobs.live(caller, id).await?.ok_or(CreateError::KeyReused)
}

fn same_request(job: Arc<GenerationJob>, digest: &str) -> Result<Arc<GenerationJob>, CreateError> {
    match job.annotations().get(build::REQUEST_DIGEST) {
        Some(known) if known == digest => Ok(job),
        _ => Err(CreateError::KeyReused),
    }
}
