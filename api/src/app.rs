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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use kube::Client;
    use tower::ServiceExt as _;
    use trellis_storage::HttpsReader;

    use crate::auth::keys::Key;

    /// A service that has read nothing yet, and a key for it. Kubernetes answers nothing.
    fn starting() -> (Router, String) {
        let silent = tower::service_fn(|_: Request<kube::client::Body>| async {
            std::future::pending::<Result<axum::http::Response<Body>, std::io::Error>>().await
        });
        let (jobs, _) = Jobs::watch(Client::new(silent, "default"));
        let (key, entry) = Key::generate("a".into(), "alice".into(), "team".into()).unwrap();
        let (_, keys) = watch::channel(Arc::new(Keys { keys: vec![entry] }));
        let storage = Storage::new(trellis_storage::Settings::default());
        let settings = Settings {
            api_keys_file: "keys.yaml".into(),
            input_uri: "gs://bucket/inputs".into(),
            storage_emulator_host: None,
            pool_namespace: "trellis".into(),
            file_roots: Vec::new(),
            max_image_bytes: 1000,
        };
        let base = settings.input_uri.parse().unwrap();
        let inputs =
            Inputs::new(storage.clone(), HttpsReader::new().unwrap(), base, settings.max_image_bytes);
        let (pools, _) = kube::runtime::reflector::store();
        let settings = Arc::new(settings);
        let app = App { settings, keys, jobs, pools, inputs, storage, health: Health::default() };
        let registry = Registry::new();
        let requests = Requests::register(&registry).unwrap();
        (router(app, registry, requests), key)
    }

    #[tokio::test]
    async fn before_the_first_reading_nobody_hears_that_they_have_no_jobs() {
        let (service, key) = starting();
        let request = Request::get("/api/v1/jobs").header("x-api-key", key).body(Body::empty()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
