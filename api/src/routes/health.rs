//! `GET /api/v1/health`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use trellis_crds::InputKind;
use utoipa::ToSchema;

use crate::app::App;
use crate::pools::{self, Wanted};

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "ok", "version": "0.1.0", "image_to_3d": true, "text_to_3d": false, "variant": false}))]
pub(crate) struct ServiceHealth {
    /// `ok`, or why requests are not answered yet.
    status: String,
    /// The version of this service.
    version: &'static str,
    /// Whether a worker pool that serves everyone takes images.
    image_to_3d: bool,
    /// Whether a worker pool that serves everyone takes text.
    text_to_3d: bool,
    /// Whether one takes variants: a mesh, and words for its surface.
    variant: bool,
}

/// See how the service is
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "service",
    responses(
        (status = 200, description = "It works", body = ServiceHealth),
        (status = 503, description = "It is starting", body = ServiceHealth),
    ),
    security(()),
)]
pub(crate) async fn health(State(app): State<App>) -> (StatusCode, Json<ServiceHealth>) {
    let pools = app.pools.state();
    let shared = &app.settings.pool_namespace;
    let takes = |input: InputKind| pools::check(&pools, shared, shared, Wanted::any(input)).is_ok();
    let (code, status) = match app.health.ready() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    };
    let health = ServiceHealth {
        status,
        version: env!("CARGO_PKG_VERSION"),
        image_to_3d: takes(InputKind::Image),
        text_to_3d: takes(InputKind::Text),
        variant: takes(InputKind::Variant),
    };
    (code, Json(health))
}
