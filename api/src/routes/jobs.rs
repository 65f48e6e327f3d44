//! `/api/v1/jobs`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::auth::Caller;
use crate::cluster::ClusterError;
use crate::jobs::JobId;
use crate::jobs::document::Document;
use crate::jobs::following::Following;
use crate::jobs::page::{Cursor, Filter};
use crate::jobs::store::Seen;
use crate::jobs::view::{Job, JobList, JobStatus, Kind, Status};
use crate::openapi::Problems;
use crate::problem::Problem;
use crate::request::{Known, Prefer, Query, RequestError};

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    /// Only jobs of this status.
    status: Option<Status>,
    /// Only jobs made of this kind of input.
    input: Option<Kind>,
    /// Only jobs created at this time or later (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-24T00:00:00Z")]
    created_after: Option<Timestamp>,
    /// Only jobs created before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-25T00:00:00Z")]
    created_before: Option<Timestamp>,
    /// At most so many (default 20, at most 100).
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// The headers by which a client hears only of changes. For the description alone: `Known` and `Prefer` read them.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "for the description alone")]
struct Changes {
    /// An `ETag` from before: 304 if nothing has changed since
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
    /// With `If-None-Match`, `wait=N`: wait for a change, N seconds at most, 1 to 60
    #[param(rename = "Prefer", example = "wait=30")]
    prefer: Option<String>,
}

/// List your jobs
///
/// The newest first: those that are in Kubernetes.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    tag = "jobs",
    operation_id = "list_jobs",
    params(Listing),
    responses(
        (status = 200, description = "Your jobs", body = JobList,
            headers(
                ("Age" = Option<u64>, description = "While the Kubernetes API is away: how old this may be, in seconds"),
                ("Warning" = Option<String>, description = "While the Kubernetes API is away: `110 - \"Response is Stale\"`"),
            )),
        Problems<400>, Problems<401>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(listing): Query<Listing>,
) -> Result<Json<JobList>, Problem> {
    // Before the first reading there seems to be no job.
    app.health.ready().map_err(ClusterError::Unavailable)?;
    let limit = listing.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(RequestError::Parameter("limit must be 1 to 100".to_owned()).into());
    }
    let filter = Filter {
        status: listing.status,
        input: listing.input.map(Kind::into),
        created_after: listing.created_after,
        created_before: listing.created_before,
    };
    let (jobs, selection) = app.jobs.select(&caller, &filter, listing.cursor.as_ref(), limit.into());
    let last = jobs.last().filter(|_| selection.has_more);
    Ok(Json(JobList {
        next_cursor: last.map(|seen| Cursor::at(&seen.job).to_string()),
        jobs: jobs.iter().map(JobStatus::from).collect(),
        totals: selection.totals,
    }))
}

/// See all about a job
///
/// With `If-None-Match` and `Prefer: wait=N` the answer comes as soon as there is something else to see, or after N seconds: 304.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    tag = "jobs",
    operation_id = "get_job",
    params(
        ("id" = String, Path, description = "The job's id"),
        Changes,
    ),
    responses(
        (status = 200, description = "The job", body = Job,
            headers(
                ("ETag" = String, description = "Names what the answer says"),
                ("Preference-Applied" = Option<String>, description = "How long the answer would have waited, where it was to wait"),
                ("Age" = Option<u64>, description = "While the Kubernetes API is away: how old this may be, in seconds"),
                ("Warning" = Option<String>, description = "While the Kubernetes API is away: `110 - \"Response is Stale\"`"),
            )),
        (status = 304, description = "Nothing has changed", headers(("ETag" = String, description = "Names what you have"))),
        Problems<401>, Problems<404>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
    known: Known,
    prefer: Prefer,
) -> Result<Response, Problem> {
    show(&app, &caller, &id, &known, prefer, |seen| Document::of(&Job::from(seen))).await
}

/// See how far a job is
///
/// With `If-None-Match` and `Prefer: wait=N` the answer comes as soon as there is something else to see, or after N seconds: 304.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}/status",
    tag = "jobs",
    operation_id = "get_job_status",
    params(
        ("id" = String, Path, description = "The job's id"),
        Changes,
    ),
    responses(
        (status = 200, description = "How far it is", body = JobStatus,
            headers(
                ("ETag" = String, description = "Names what the answer says"),
                ("Preference-Applied" = Option<String>, description = "How long the answer would have waited, where it was to wait"),
                ("Age" = Option<u64>, description = "While the Kubernetes API is away: how old this may be, in seconds"),
                ("Warning" = Option<String>, description = "While the Kubernetes API is away: `110 - \"Response is Stale\"`"),
            )),
        (status = 304, description = "Nothing has changed", headers(("ETag" = String, description = "Names what you have"))),
        Problems<401>, Problems<404>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn status(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
    known: Known,
    prefer: Prefer,
) -> Result<Response, Problem> {
    show(&app, &caller, &id, &known, prefer, |seen| Document::of(&JobStatus::from(seen))).await
}

/// Shows the job as `view` has it, unless the client has that. Where the client would wait, first waits until there is something else to show.
async fn show(
    app: &App,
    caller: &Caller,
    id: &JobId,
    known: &Known,
    prefer: Prefer,
    view: impl Fn(&Seen) -> Document,
) -> Result<Response, Problem> {
    let mut applied = None;
    if let Some(wait) = prefer.wait.filter(|_| !known.is_empty()) {
        let is_news = |seen: &Seen| (!known.has(&view(seen).tag())).then_some(());
        Following::new(app, caller.clone(), id.clone()).within(wait, is_news).await;
        applied = prefer.applied();
    }
    let document = view(&app.jobs.see(caller, id).await?);
    let headers = (AppendHeaders(applied), [(ETAG, document.tag())]);
    if known.has(&document.tag()) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, [(CONTENT_TYPE, "application/json")], document.json).into_response())
}

/// End and delete a job
///
/// A job that runs is stopped. Its record goes with it, so that it is not found any more; its image and the files that it made stay in the storage.
/// Where the storage is away the job ends, and its record stays: 503. Send the request again.
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{id}",
    tag = "jobs",
    operation_id = "delete_job",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 204, description = "It is gone"), Problems<401>, Problems<404>, Problems<500>, Problems<503>),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn delete(State(app): State<App>, caller: Caller, id: JobId) -> Result<StatusCode, Problem> {
    app.jobs.delete(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
