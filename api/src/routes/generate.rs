//! `POST /api/v1/generate/…`

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use trellis_crds::GenerationJob;
use trellis_telemetry::TraceParent;

use crate::app::App;
use crate::auth::Caller;
use crate::jobs::create;
use crate::jobs::view::JobResponse;
use crate::openapi::{ImageForm, Problems};
use crate::problem::Problem;
use crate::request::{IdempotencyKey, ImageRequest, ImageTo3d, Place, TextRequest, TextTo3d};

/// Make an asset from an image
///
/// The image is checked before the answer. Sending the request again with the same `Idempotency-Key` makes no second job.
#[utoipa::path(
    post,
    path = "/api/v1/generate/image-to-3d",
    tag = "generate",
    params(("Idempotency-Key" = Option<String>, Header, description = "Your own name for this request, 1 to 255 characters")),
    request_body(content((ImageTo3d = "application/json"), (ImageForm = "multipart/form-data"))),
    responses(
        (status = 202, description = "The job was accepted", body = JobResponse,
            headers(("Location" = String, description = "The job's path"))),
        Problems<400>, Problems<401>, Problems<413>, Problems<415>, Problems<422>, Problems<429>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn image_to_3d(
    State(app): State<App>,
    Extension(trace): Extension<TraceParent>,
    caller: Caller,
    _place: Place,
    key: Option<IdempotencyKey>,
    ImageRequest(request): ImageRequest,
) -> Result<impl IntoResponse, Problem> {
    Ok(accepted(&*create::create(&app, &caller, key.as_ref(), &request, &trace).await?))
}

/// Make an asset from a description
///
/// Needs a worker pool whose model takes text.
#[utoipa::path(
    post,
    path = "/api/v1/generate/text-to-3d",
    tag = "generate",
    params(("Idempotency-Key" = Option<String>, Header, description = "Your own name for this request, 1 to 255 characters")),
    request_body = TextTo3d,
    responses(
        (status = 202, description = "The job was accepted", body = JobResponse,
            headers(("Location" = String, description = "The job's path"))),
        Problems<400>, Problems<401>, Problems<413>, Problems<415>, Problems<422>, Problems<429>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn text_to_3d(
    State(app): State<App>,
    Extension(trace): Extension<TraceParent>,
    caller: Caller,
    _place: Place,
    key: Option<IdempotencyKey>,
    TextRequest(request): TextRequest,
) -> Result<impl IntoResponse, Problem> {
    Ok(accepted(&*create::create(&app, &caller, key.as_ref(), &request, &trace).await?))
}

fn accepted(job: &GenerationJob) -> impl IntoResponse + use<> {
    let job = JobResponse::from(job);
    (StatusCode::ACCEPTED, [(LOCATION, job.links.own.clone())], Json(job))
}
