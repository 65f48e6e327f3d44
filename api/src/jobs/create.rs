//! From a request to a job, once.

use std::sync::Arc;

use kube::ResourceExt as _;
use trellis_crds::{GenerationJob, InputKind, labels};
use trellis_telemetry::TraceParent;

use super::inputs::InputError;
use super::{JobError, JobId, build};
use crate::app::App;
use crate::auth::Caller;
use crate::cluster::ClusterError;
use crate::pools::{self, PoolError};
use crate::request::{Generate, IdempotencyKey, Input};

/// Why no job was made of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// No pool would take it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Its image cannot be had.
    #[error(transparent)]
    Input(#[from] InputError),
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
    let id = build::id(caller, key);
    if key.is_some() {
        match app.jobs.find(caller, &id).await {
            Ok(job) => return same_request(job, request),
            Err(JobError::NotFound) => {}
            Err(error) => return Err(CreateError::Before(error)),
        }
    }
    // Before the first reading there seems to be no pool.
    app.health.ready().map_err(ClusterError::Unavailable)?;
    let (pools, shared) = (app.pools.state(), &app.settings.pool_namespace);
    pools::check(&pools, &caller.namespace, shared, kind(&request.input), request.options.pool.as_deref())?;

    let uri = app.inputs.store(caller, &id, &request.input).await?;
    let input = build::input(request, uri.map(|uri| uri.to_string()));
    let mut job = build::job(&id, caller, request, input);
    if let Some(trace) = trace.to_text() {
        job.annotations_mut().insert(labels::TRACEPARENT.into(), trace);
    }
    match app.jobs.create(caller, &job).await {
        Ok(job) => Ok(Arc::new(job)),
        Err(ClusterError::AlreadyExists) => same_request(made_meanwhile(app, caller, &id).await?, request),
        Err(error) => Err(error.into()),
    }
}

/// The job that another request with the same key has made since we looked.
async fn made_meanwhile(app: &App, caller: &Caller, id: &JobId) -> Result<Arc<GenerationJob>, CreateError> {
    // Deleted again, or of another user: the key cannot be used now.
    app.jobs.live(caller, id).await?.ok_or(CreateError::KeyReused)
}

fn same_request(job: Arc<GenerationJob>, request: &Generate) -> Result<Arc<GenerationJob>, CreateError> {
    match job.annotations().get(build::REQUEST_DIGEST) {
        Some(digest) if *digest == build::digest(request) => Ok(job),
        _ => Err(CreateError::KeyReused),
    }
}

fn kind(input: &Input) -> InputKind {
    match input {
        Input::ImageUrl(_) | Input::ImageFile(_) => InputKind::Image,
        Input::Text(_) => InputKind::Text,
    }
}
