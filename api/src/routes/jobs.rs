//! `/api/v1/jobs`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::auth::Caller;
use crate::cluster::ClusterError;
use crate::jobs::JobId;
use crate::jobs::page::{Cursor, page};
use crate::jobs::view::{Job, JobList, JobStatus, Status};
use crate::openapi::Problems;
use crate::problem::Problem;
use crate::request::Query;

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    /// Only jobs of this status.
    status: Option<Status>,
    /// At most so many (default 20, at most 100).
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// List your jobs
///
/// The newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    tag = "jobs",
    operation_id = "list_jobs",
    params(Listing),
    responses((status = 200, description = "Your jobs", body = JobList), Problems<400>, Problems<401>, Problems<503>),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(listing): Query<Listing>,
) -> Result<Json<JobList>, Problem> {
    // Before the first reading there seems to be no job.
    app.health.ready().map_err(ClusterError::Unavailable)?;
    let limit = listing.limit.unwrap_or(20).clamp(1, 100);
    Ok(Json(page(app.jobs.all(&caller), listing.status, listing.cursor.as_ref(), limit.into())))
}

/// See all about a job
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    tag = "jobs",
    operation_id = "get_job",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, description = "The job", body = Job), Problems<401>, Problems<404>, Problems<503>),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn get(State(app): State<App>, caller: Caller, id: JobId) -> Result<Json<Job>, Problem> {
    let job = app.jobs.find(&caller, &id).await?;
    Ok(Json(Job::from(&*job)))
}

/// See how far a job is
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}/status",
    tag = "jobs",
    operation_id = "get_job_status",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, description = "How far it is", body = JobStatus), Problems<401>, Problems<404>, Problems<503>),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn status(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
) -> Result<Json<JobStatus>, Problem> {
    let job = app.jobs.find(&caller, &id).await?;
    Ok(Json(JobStatus::from(&*job)))
}

/// End and delete a job
///
/// A job that runs is stopped. Its image, and the files and the record of an attempt that ended, stay in the storage: `GET` still finds a job
/// that has a record.
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{id}",
    tag = "jobs",
    operation_id = "delete_job",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 204, description = "It is gone"), Problems<401>, Problems<404>, Problems<503>),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn delete(State(app): State<App>, caller: Caller, id: JobId) -> Result<StatusCode, Problem> {
    app.jobs.delete(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
