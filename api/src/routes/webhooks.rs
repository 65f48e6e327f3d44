//! `/api/v1/jobs/{id}/webhook` and `/api/v1/webhook-secret`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::jobs::view::Job;
use crate::jobs::{JobError, JobId};
use crate::openapi::Problems;
use crate::problem::{Code, Problem};

/// What a receiver checks the messages about your jobs with.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookSecret {
    /// As the libraries of Standard Webhooks take it.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
}

/// See what your webhooks are signed with
///
/// A receiver checks the header `webhook-signature` with it, as <https://www.standardwebhooks.com> says.
#[utoipa::path(
    get,
    path = "/api/v1/webhook-secret",
    tag = "webhooks",
    operation_id = "get_webhook_secret",
    responses((status = 200, description = "The secret", body = WebhookSecret), Problems<401>, Problems<404>),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn secret(State(app): State<App>, caller: Caller) -> Result<Json<WebhookSecret>, Problem> {
    let off = || Problem::new(Code::WebhooksOff, "Its administrator can turn them on.");
    let secret = app.webhooks.secret(&caller).ok_or_else(off)?;
    Ok(Json(WebhookSecret { secret: secret.to_text() }))
}

/// Tell a job's webhook again
///
/// Sends all of an ended job's messages anew, those that were delivered as well, with the ids they had.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/webhook/redeliver",
    tag = "webhooks",
    operation_id = "redeliver_webhook",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 202, description = "The messages are sent", body = Job),
        Problems<401>, Problems<404>, Problems<409>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn redeliver(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
) -> Result<(StatusCode, Json<Job>), Problem> {
    let job = app.jobs.live(&caller, &id).await?.ok_or(JobError::NotFound)?;
    let job = app.webhooks.redeliver(&job).await?;
    Ok((StatusCode::ACCEPTED, Json(Job::from(&job))))
}
