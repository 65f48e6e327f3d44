//! `GET /api/v1/jobs/{id}/events`

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, stream};
use tokio::time::Instant;

use crate::app::App;
use crate::auth::Caller;
use crate::jobs::JobId;
use crate::jobs::document::Document;
use crate::jobs::following::Following;
use crate::jobs::store::Seen;
use crate::jobs::view::JobStatus;
use crate::openapi::Problems;
use crate::problem::Problem;

/// How often something is sent, so that nothing between here and the client takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts. The client comes again, and its key is looked at again.
const LONGEST: Duration = Duration::from_secs(3600);
/// Asks nginx, which keeps answers back until they are long enough, not to.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Follow a job
///
/// Server-sent events: `event: status`, whose `data` is the job's status in JSON, at once and then as often as it changes. The stream ends after the event
/// of a status that is final, when the service stops, and after an hour; take it up again with the header `Last-Event-ID`, as browsers do by themselves. A comment comes every 15 s.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}/events",
    tag = "jobs",
    operation_id = "follow_job",
    params(
        ("id" = String, Path, description = "The job's id"),
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that you have: it is not sent again"),
    ),
    responses(
        // Without a schema: that of a stream would have to describe its events, for which OpenAPI 3.1 has no words.
        (status = 200, description = "The job's status, as it changes", content_type = "text/event-stream",
            example = "event: status\nid: 5f0c3a9d2b7e4c1f8a6d9e20\ndata: {\"id\":\"gj-01jd3y8w5x4k2m9v7t6r5q4p3n\",\"status\":\"pending\",\"queue_position\":3,\"failed_attempts\":0,\"created_at\":\"2026-11-24T07:30:00Z\"}\n\n"),
        (status = 204, description = "You have the event of the job's final status: there is nothing to follow"),
        Problems<401>, Problems<404>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn events(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let seen = app.jobs.see(&caller, &id).await?;
    if seen.job.is_finished() && last.as_ref() == Some(&shown(&seen).version) {
        // What tells a browser not to come again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let following = Following::new(&app, caller, id);
    let ends = Instant::now() + LONGEST;
    let events = Sse::new(statuses(Some(Stage { following, last, ends })));
    Ok(([UNBUFFERED], events.keep_alive(KeepAlive::new().interval(HEARTBEAT))).into_response())
}

/// How far a stream is.
struct Stage {
    following: Following,
    /// The version that the client has.
    last: Option<String>,
    ends: Instant,
}

/// Each status that the client does not have, until the final one.
fn statuses(stage: Option<Stage>) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    stream::unfold(stage, async |stage| {
        let mut stage = stage?;
        let news = |seen: &Seen| {
            let document = shown(seen);
            let is_final = seen.job.is_finished();
            (is_final || stage.last.as_ref() != Some(&document.version)).then_some((document, is_final))
        };
        // Where the job is gone, or cannot be looked at, the client hears why when it comes again.
        let next = tokio::time::timeout_at(stage.ends, stage.following.until(news)).await.ok()?;
        let (document, is_final) = next.ok()??;
        let event = Event::default().event("status").id(&document.version).data(&document.json);
        stage.last = Some(document.version);
        Some((Ok(event), (!is_final).then_some(stage)))
    })
}

fn shown(seen: &Seen) -> Document {
    Document::of(&JobStatus::from(seen))
}
