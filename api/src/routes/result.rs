//! `GET /api/v1/jobs/{id}/result`

use std::error::Error as _;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, TryStreamExt as _};
use serde::Deserialize;
use tracing::Span;
use utoipa::IntoParams;

use crate::app::App;
use crate::auth::Caller;
use crate::jobs::JobId;
use crate::jobs::result::{self, ResultError};
use crate::openapi::Problems;
use crate::problem::Problem;
use crate::request::Query;

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// `glb` (the default), another of the formats asked for, `preview` (a picture) or `manifest`.
    #[param(example = "glb")]
    format: Option<String>,
}

/// Fetch what a job made
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}/result",
    tag = "jobs",
    operation_id = "get_job_result",
    params(
        ("id" = String, Path, description = "The job's id"),
        Wanted,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` from before: 304 if the file is still that one"),
    ),
    responses(
        (status = 200, description = "The file",
            content(("model/gltf-binary"), ("image/png"), ("application/zip"), ("application/json"), ("application/octet-stream")),
            headers(
                ("ETag" = String, description = "The file's SHA-256"),
                ("Content-Disposition" = String, description = "A name to save it under"),
            )),
        (status = 304, description = "You have it already"),
        Problems<400>, Problems<401>, Problems<404>, Problems<409>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = app.jobs.find(&caller, &id).await?;
    let file = result::file(&job, wanted.format.as_deref().unwrap_or("glb"))?;
    let uri = result::place(&job, file)?;
    let tag = format!("\"{}\"", file.sha256);
    if has_it(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let reader = app.storage.open(&uri).await.map_err(ResultError::from)?;
    let name = format!("{}.{}", id.as_str(), trellis_crds::extension(&file.format));
    let headers = [
        (CONTENT_TYPE, trellis_crds::media_type(&file.format).to_owned()),
        (CONTENT_LENGTH, reader.size.to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (ETAG, tag),
    ];
    Ok((headers, Body::from_stream(logged(reader.into_stream()))).into_response())
}

/// An error after the headers can reach the client only as a connection that ends early, so that it is told here.
fn logged<T>(
    pieces: impl Stream<Item = Result<T, trellis_storage::Error>> + Send + 'static,
) -> impl Stream<Item = Result<T, trellis_storage::Error>> + Send + 'static {
    let span = Span::current();
    pieces.inspect_err(move |error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        span.in_scope(|| tracing::warn!(cause, "a result ended early"));
    })
}

fn has_it(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|known| known == tag || known == "*")
}
