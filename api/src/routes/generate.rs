//! `POST /api/v1/generate/…`

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::{Extension, Json};
use kube::ResourceExt as _;
use trellis_crds::GenerationJob;
use trellis_telemetry::TraceParent;
use utoipa::{IntoParams, IntoResponses};

use crate::app::App;
use crate::auth::Caller;
use crate::jobs::following::Following;
use crate::jobs::view::{Job, JobResponse};
use crate::jobs::{JobId, create};
use crate::openapi::Problems;
use crate::problem::Problem;
use crate::request::{
    self, Body, IdempotencyKey, ImageForm, ImageTo3d, Limits, Prefer, TextTo3d, Variant, VariantForm,
};

/// The headers that every request for an asset may have. For the description alone: `IdempotencyKey` and `Prefer` read them.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "for the description alone")]
struct Headers {
    /// Your own name for this request
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")]
    idempotency_key: Option<String>,
    /// `wait=N`: answer when the job has ended, or after N seconds, 1 to 60
    #[param(rename = "Prefer", example = "wait=30")]
    prefer: Option<String>,
}

/// The answers to a request of which a job was made.
#[derive(IntoResponses)]
#[expect(dead_code, clippy::large_enum_variant, reason = "for the description alone")]
enum Made {
    #[response(
        status = 200,
        description = "The job has ended, within the time that the request preferred to wait",
        headers(("Preference-Applied" = String, description = "How long the answer would have waited")),
    )]
    Ended(Job),
    #[response(
        status = 202,
        description = "The job was accepted",
        headers(
            ("Location" = String, description = "The job's path"),
            ("Preference-Applied" = Option<String>, description = "How long the answer waited, where it was to wait"),
        ),
    )]
    Accepted(JobResponse),
}

/// Make an asset from images
///
/// From one image, or from several of the same object. They are checked before the answer. Sending the request again with the same
/// `Idempotency-Key` makes no second job.
#[utoipa::path(
    post,
    path = "/api/v1/generate/image-to-3d",
    tag = "generate",
    params(Headers),
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
        Made, Problems<400>, Problems<401>, Problems<408>, Problems<413>, Problems<415>, Problems<422>, Problems<429>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn image_to_3d(
    State(app): State<App>,
    Extension(trace): Extension<TraceParent>,
    caller: Caller,
    key: Option<IdempotencyKey>,
    request: Request,
) -> Result<Response, Problem> {
    generate::<ImageTo3d>(&app, &caller, key.as_ref(), &trace, request).await
}

/// Make an asset from a description
///
/// Needs a worker pool whose model takes text.
#[utoipa::path(
    post,
    path = "/api/v1/generate/text-to-3d",
    tag = "generate",
    params(Headers),
    request_body(content = TextTo3d, examples(
        ("A description" = (value = json!({"prompt": "a wooden treasure chest with iron bands", "output_formats": ["glb"]}))),
        ("Four to choose from" = (value = json!({"prompt": "a wooden treasure chest with iron bands", "samples": 4, "quality": "fast", "seed": 7}))),
    )),
    responses(
        Made, Problems<400>, Problems<401>, Problems<408>, Problems<413>, Problems<415>, Problems<422>, Problems<429>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn text_to_3d(
    State(app): State<App>,
    Extension(trace): Extension<TraceParent>,
    caller: Caller,
    key: Option<IdempotencyKey>,
    request: Request,
) -> Result<Response, Problem> {
    generate::<TextTo3d>(&app, &caller, key.as_ref(), &trace, request).await
}

/// Give a mesh a new surface
///
/// The shape stays, and the words say what it is made of. Needs a worker pool whose model takes text.
#[utoipa::path(
    post,
    path = "/api/v1/generate/variant",
    tag = "generate",
    params(Headers),
    request_body(content(
        (Variant = "application/json", examples(
            ("A mesh in the request" = (value = json!({"prompt": "rusty iron", "mesh_base64": "diAwIDAgMAp2IDEgMCAwCnYgMCAxIDAKZiAxIDIgMwo=", "quality": "fast"}))),
            ("A mesh by its address" = (value = json!({"prompt": "rusty iron", "mesh_url": "https://example.com/cup.glb"}))),
        )),
        (VariantForm = "multipart/form-data"),
    )),
    responses(
        Made, Problems<400>, Problems<401>, Problems<408>, Problems<413>, Problems<415>, Problems<422>, Problems<429>, Problems<500>, Problems<503>,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
pub(crate) async fn variant(
    State(app): State<App>,
    Extension(trace): Extension<TraceParent>,
    caller: Caller,
    key: Option<IdempotencyKey>,
    request: Request,
) -> Result<Response, Problem> {
    generate::<Variant>(&app, &caller, key.as_ref(), &trace, request).await
}

async fn generate<B: Body>(
    app: &App,
    caller: &Caller,
    key: Option<&IdempotencyKey>,
    trace: &TraceParent,
    request: Request,
) -> Result<Response, Problem> {
    let prefer = Prefer::of(request.headers());
    let job = {
        let _place = app.places.take(caller).await;
        let request = request::read::<B>(request, Limits::of(app.settings.max_image_bytes)).await?;
        create::create(app, caller, key, &request, trace).await?
    };
    Ok(accepted(app, caller, &job, prefer).await)
}

/// Tells of the job that was made; once it has ended, where the client would wait for that and it ends in time.
async fn accepted(app: &App, caller: &Caller, job: &GenerationJob, prefer: Prefer) -> Response {
    let (Some(wait), Some(id)) = (prefer.wait, JobId::parse(&job.name_any())) else {
        return pending(job).into_response();
    };
    let applied = AppendHeaders(prefer.applied());
    match Following::new(app, caller.clone(), id).end(wait).await {
        Some(seen) => (applied, Json(Job::from(&seen))).into_response(),
        None => (applied, pending(job)).into_response(),
    }
}

fn pending(job: &GenerationJob) -> impl IntoResponse + use<> {
    let job = JobResponse::from(job);
    (StatusCode::ACCEPTED, [(LOCATION, job.links.own.clone())], Json(job))
}
