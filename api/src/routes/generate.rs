//! `POST /api/v1/generate/…`

use axum::extract::{Request, State};
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
use crate::openapi::Problems;
use crate::problem::Problem;
use crate::request::{
    self, Body, IdempotencyKey, ImageForm, ImageTo3d, Limits, TextTo3d, Variant, VariantForm,
};

/// Make an asset from images
///
/// From one image, or from several of the same object. They are checked before the answer. Sending the request again with the same
/// `Idempotency-Key` makes no second job.
#[utoipa::path(
    post,
    path = "/api/v1/generate/image-to-3d",
    tag = "generate",
    params(("Idempotency-Key" = Option<String>, Header, description = "Your own name for this request", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")),
    request_body(content(
        (ImageTo3d = "application/json", examples(
            ("One image" = (value = json!({"image_url": "https://example.com/cup.png", "output_formats": ["glb"], "quality": "balanced", "seed": 42}))),
            ("An image in the request" = (value = json!({"image_base64": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAD0lEQVR42mNoQAMMI1sAAAUMgAHjM1mKAAAAAElFTkSuQmCC", "quality": "fast"}))),
            ("Several images" = (value = json!({"image_urls": ["https://example.com/front.png", "https://example.com/back.png"], "multi_image_mode": "multidiffusion"}))),
            ("For a print" = (value = json!({"image_url": "https://example.com/cup.png", "output_formats": ["stl"], "quality": "high", "mesh": {"simplify": 0.5, "fill_holes": true}, "deadlines": {"queue_seconds": 600}, "when_failing": "queue"}))),
        )),
        (ImageForm = "multipart/form-data"),
    )),
    responses(
        (status = 202, description = "The job was accepted", body = JobResponse,
            headers(("Location" = String, description = "The job's path"))),
        Problems<400>, Problems<401>, Problems<408>, Problems<413>, Problems<415>, Problems<422>, Problems<429>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn image_to_3d(
    State(app): State<App>,
    Extension(trace): Extension<TraceParent>,
    caller: Caller,
    key: Option<IdempotencyKey>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    generate::<ImageTo3d>(&app, &caller, key.as_ref(), &trace, request).await
}

/// Make an asset from a description
///
/// Needs a worker pool whose model takes text.
#[utoipa::path(
    post,
    path = "/api/v1/generate/text-to-3d",
    tag = "generate",
    params(("Idempotency-Key" = Option<String>, Header, description = "Your own name for this request", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")),
    request_body(content = TextTo3d, examples(
        ("A description" = (value = json!({"prompt": "a wooden treasure chest with iron bands", "output_formats": ["glb"]}))),
        ("Four to choose from" = (value = json!({"prompt": "a wooden treasure chest with iron bands", "samples": 4, "quality": "fast", "seed": 7}))),
    )),
    responses(
        (status = 202, description = "The job was accepted", body = JobResponse,
            headers(("Location" = String, description = "The job's path"))),
        Problems<400>, Problems<401>, Problems<408>, Problems<413>, Problems<415>, Problems<422>, Problems<429>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn text_to_3d(
    State(app): State<App>,
    Extension(trace): Extension<TraceParent>,
    caller: Caller,
    key: Option<IdempotencyKey>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    generate::<TextTo3d>(&app, &caller, key.as_ref(), &trace, request).await
}

/// Give a mesh a new surface
///
/// The shape stays, and the words say what it is made of. Needs a worker pool whose model takes text.
#[utoipa::path(
    post,
    path = "/api/v1/generate/variant",
    tag = "generate",
    params(("Idempotency-Key" = Option<String>, Header, description = "Your own name for this request", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")),
    request_body(content(
        (Variant = "application/json", examples(
            ("A mesh in the request" = (value = json!({"prompt": "rusty iron", "mesh_base64": "diAwIDAgMAp2IDEgMCAwCnYgMCAxIDAKZiAxIDIgMwo=", "quality": "fast"}))),
            ("A mesh by its address" = (value = json!({"prompt": "rusty iron", "mesh_url": "https://example.com/cup.glb"}))),
        )),
        (VariantForm = "multipart/form-data"),
    )),
    responses(
        (status = 202, description = "The job was accepted", body = JobResponse,
            headers(("Location" = String, description = "The job's path"))),
        Problems<400>, Problems<401>, Problems<408>, Problems<413>, Problems<415>, Problems<422>, Problems<429>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn variant(
    State(app): State<App>,
    Extension(trace): Extension<TraceParent>,
    caller: Caller,
    key: Option<IdempotencyKey>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    generate::<Variant>(&app, &caller, key.as_ref(), &trace, request).await
}

async fn generate<B: Body>(
    app: &App,
    caller: &Caller,
    key: Option<&IdempotencyKey>,
    trace: &TraceParent,
    request: Request,
) -> Result<impl IntoResponse + use<B>, Problem> {
    let _place = app.places.take(caller).await;
    let request = request::read::<B>(request, Limits::of(app.settings.max_image_bytes)).await?;
    Ok(accepted(&*create::create(app, caller, key, &request, trace).await?))
}

fn accepted(job: &GenerationJob) -> impl IntoResponse + use<> {
    let job = JobResponse::from(job);
    (StatusCode::ACCEPTED, [(LOCATION, job.links.own.clone())], Json(job))
}
