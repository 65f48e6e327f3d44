//! `GET /api/v1/jobs/{id}/result`

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use futures::{Stream, TryStreamExt as _};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tracing::Span;
use trellis_crds::{GenerationJob, OutputFile};
use trellis_storage::ObjectUri;
use utoipa::IntoParams;

use crate::app::App;
use crate::auth::Caller;
use crate::jobs::JobId;
use crate::jobs::result::{self, ResultError};
use crate::jobs::zip::{self, Member};
use crate::openapi::Problems;
use crate::problem::Problem;
use crate::request::{Known, Query, Unsatisfiable, wanted_range};

/// What is called for to have all files in one.
const ALL: &str = "zip";
/// How long a signed address can be used.
const SIGNED: Duration = Duration::from_secs(15 * 60);

/// Which file, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// `glb` (the default), another of the formats asked for, `preview` (a picture), `manifest`, or `zip`: all of them in one.
    #[param(example = "glb")]
    format: Option<String>,
    /// Of a job that was asked for several samples, the file of which one, from 0.
    #[serde(default)]
    #[param(maximum = 3)]
    sample: usize,
    /// Rather lead to an address of the storage, at which anybody can fetch the file for 15 minutes. Where the storage has none, and for `zip`, the file
    /// comes all the same.
    #[serde(default)]
    redirect: bool,
}

/// Fetch what a job made
///
/// `Range` with one range is honoured, but for `zip`. `HEAD` answers without the file.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}/result",
    tag = "jobs",
    operation_id = "get_job_result",
    params(
        ("id" = String, Path, description = "The job's id"),
        Wanted,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` from before: 304 if the file is still that one"),
        ("Range" = Option<String>, Header, description = "The part of the file that is wanted", example = "bytes=0-65535"),
        ("If-Range" = Option<String>, Header, description = "An `ETag` from before: the whole file if it is another one now"),
    ),
    responses(
        (status = 200, description = "The file",
            content(("model/gltf-binary"), ("image/png"), ("application/zip"), ("application/json"), ("application/octet-stream"),
                ("model/stl"), ("model/vnd.usdz+zip")),
            headers(
                ("ETag" = String, description = "Names the file's content; of a single file it is the SHA-256"),
                ("Content-Disposition" = String, description = "A name to save it under"),
                ("Accept-Ranges" = String, description = "`bytes`, or `none` for `zip`"),
            )),
        (status = 206, description = "The part of the file that was asked for",
            content(("model/gltf-binary"), ("image/png"), ("application/zip"), ("application/json"), ("application/octet-stream"),
                ("model/stl"), ("model/vnd.usdz+zip")),
            headers(
                ("ETag" = String, description = "Names the content of the whole file"),
                ("Content-Range" = String, description = "Which bytes these are, and of how many"),
            )),
        (status = 304, description = "You have it already", headers(("ETag" = String, description = "Names what you have"))),
        (status = 307, description = "With `redirect=true`: fetch it there", headers(("Location" = String, description = "A signed address"))),
        Problems<400>, Problems<401>, Problems<404>, Problems<409>, Problems<416>, Problems<422>, Problems<500>, Problems<502>, Problems<503>, Problems<504>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    id: JobId,
    Query(wanted): Query<Wanted>,
    known: Known,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = app.jobs.find(&caller, &id).await?;
    if wanted.format.as_deref() == Some(ALL) {
        return Ok(all_files(&app, &id, &job, &known)?);
    }
    let file = result::file(&job, wanted.format.as_deref().unwrap_or("glb"), wanted.sample)?;
    let uri = result::place(&job, file)?;
    if wanted.redirect
        && let Some(address) = signed(&app, &uri).await
    {
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, address)]).into_response());
    }
    let name = result::name(&job, file, wanted.sample);
    Ok(one_file(&app, &name, file, &uri, &known, &headers).await?)
}

/// The file, or the part of it that is wanted, unless the client has it.
async fn one_file(
    app: &App,
    name: &str,
    file: &OutputFile,
    uri: &ObjectUri,
    known: &Known,
    headers: &HeaderMap,
) -> Result<Response, ResultError> {
    let tag = format!("\"{}\"", file.sha256);
    if known.has(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let size = u64::try_from(file.bytes).unwrap_or_default();
    let range = wanted_range(headers, size, &tag).map_err(|Unsatisfiable| ResultError::Range { size })?;
    let described = [
        (CONTENT_TYPE, trellis_crds::media_type(&file.format).to_owned()),
        disposition(name, trellis_crds::extension(&file.format)),
        (ETAG, tag),
        (ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let Some(range) = range else {
        let reader = app.storage.open(uri).await?;
        let length = [(CONTENT_LENGTH, reader.size.to_string())];
        return Ok((described, length, Body::from_stream(logged(reader.into_stream()))).into_response());
    };
    let part = [
        (CONTENT_LENGTH, (range.end - range.start).to_string()),
        (CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1)),
    ];
    let reader = app.storage.open_range(uri, range).await?;
    let body = Body::from_stream(logged(reader.into_stream()));
    Ok((StatusCode::PARTIAL_CONTENT, described, part, body).into_response())
}

/// All files in one, unless the client has them.
fn all_files(app: &App, id: &JobId, job: &GenerationJob, known: &Known) -> Result<Response, ResultError> {
    let files = result::files(job)?;
    let members = files.iter().map(|file| member(job, file)).collect::<Result<Vec<_>, _>>()?;
    let tag = tag_of_all(&members, files);
    if known.has(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let completed = job.status.as_ref().and_then(|status| status.completion_time.as_ref());
    let completed = completed.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let archive = zip::archive(app.storage.clone(), members, completed);
    let headers = AppendHeaders([
        (CONTENT_TYPE, "application/zip".to_owned()),
        disposition(id.as_str(), ALL),
        (ETAG, tag),
        (ACCEPT_RANGES, "none".to_owned()),
    ]);
    Ok((headers, Body::from_stream(logged(archive))).into_response())
}

fn member(job: &GenerationJob, file: &OutputFile) -> Result<Member, ResultError> {
    let uri = result::place(job, file)?;
    let name = file.uri.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Member { name, uri, bytes: u64::try_from(file.bytes).unwrap_or_default() })
}

/// A strong tag: the archive of the same files is the same to the byte.
fn tag_of_all(members: &[Member], files: &[OutputFile]) -> String {
    let mut digest = Sha256::new();
    for (member, file) in members.iter().zip(files) {
        digest.update(format!("{} {}\n", file.sha256, member.name));
    }
    format!("\"{}\"", hex::encode(digest.finalize()))
}

fn disposition(name: &str, extension: &str) -> (HeaderName, String) {
    (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{extension}\""))
}

/// An address at which anybody can fetch the object for a while, where the storage has such.
async fn signed(app: &App, uri: &ObjectUri) -> Option<String> {
    match app.storage.sign_get(uri, SIGNED).await {
        Ok(address) => Some(address),
        Err(trellis_storage::Error::Unsupported { .. }) => None,
        Err(error) => {
            tracing::warn!(cause = cause(&error), "an address cannot be signed");
            None
        }
    }
}

/// An error after the headers can reach the client only as a connection that ends early, so that it is told here.
fn logged<T, E: Error>(
    pieces: impl Stream<Item = Result<T, E>> + Send + 'static,
) -> impl Stream<Item = Result<T, E>> + Send + 'static {
    let span = Span::current();
    pieces.inspect_err(move |error| {
        span.in_scope(|| tracing::warn!(cause = cause(error), "a result ended early"));
    })
}

/// Without the error's own text, which holds the object's address.
fn cause(error: &impl Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}
