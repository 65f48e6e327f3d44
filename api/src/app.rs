//! What handlers share, and the router that leads to them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use kube::runtime::reflector::Store;
use prometheus::Registry;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use trellis_crds::WorkerPool;
use trellis_storage::Storage;
use trellis_telemetry::Health;

use crate::auth::keys::Keys;
use crate::jobs::inputs::Inputs;
use crate::jobs::store::Jobs;
use crate::middleware::{self, Requests};
use crate::problem::{Code, Problem};
use crate::settings::Settings;
use crate::{openapi, routes};

/// What handlers share. Nothing in it is of one request or of one replica.
#[derive(Clone)]
pub(crate) struct App {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The API keys as they are now.
    pub keys: watch::Receiver<Arc<Keys>>,
    /// The jobs.
    pub jobs: Jobs,
    /// The worker pools of every namespace.
    pub pools: Store<WorkerPool>,
    /// Where inputs go.
    pub inputs: Inputs,
    /// Where results come from.
    pub storage: Storage,
    /// Whether the stores are filled.
    pub health: Health,
}

/// The whole service.
pub(crate) fn router(app: App, registry: Registry, requests: Requests) -> Router {
    let limit = DefaultBodyLimit::max(app.settings.max_body_bytes());
    let probes = trellis_telemetry::routes(registry, app.health.clone());
    let (api, document) = routes::api().split_for_parts();
    api.merge(openapi::route(document))
        .with_state(app)
        .merge(probes)
        .fallback(async || {
            Problem::new(Code::NotFound, "There is nothing here. /openapi.json lists what there is.")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "The header Allow lists the methods that this path takes.")
        })
        .layer(limit)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(middleware::deadline))
        .layer(from_fn(middleware::secure))
        .layer(from_fn_with_state(requests, middleware::observe))
}

/// The panic itself was logged by the panic hook.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(Code::Internal, "The service met a fault of its own.").into_response()
}
