//! `POST /api/v1/jobs/{id}/cancel` and `/retry`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::auth::Caller;
use crate::jobs::view::{JobResponse, JobStatus};
use crate::jobs::{JobId, orders};
use crate::openapi::Problems;
use crate::problem::Problem;

/// Cancel a job
///
/// A job that runs is stopped. The answer waits 5 s at most until the job has ended, so its status may not be `cancelled` yet. Cancelling a cancelled
/// job changes nothing. The job stays to be looked at; `DELETE` removes it.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/cancel",
    tag = "jobs",
    operation_id = "cancel_job",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 200, description = "It is cancelled, or about to be", body = JobStatus),
        Problems<401>, Problems<404>, Problems<409>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
) -> Result<Json<JobStatus>, Problem> {
    let seen = orders::cancel(&app, caller, id).await?;
    Ok(Json(JobStatus::from(&seen)))
}

/// Try a failed job again
///
/// With all of its attempts. The answer waits 5 s at most until that shows in the job's status.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/retry",
    tag = "jobs",
    operation_id = "retry_job",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 202, description = "It is tried again", body = JobResponse),
        Problems<401>, Problems<404>, Problems<409>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn retry(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
) -> Result<(StatusCode, Json<JobResponse>), Problem> {
    let seen = orders::retry(&app, caller, id).await?;
    Ok((StatusCode::ACCEPTED, Json(JobResponse::from(&*seen.job))))
}
