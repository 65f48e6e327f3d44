//! The HTTP endpoints `/livez`, `/readyz` and `/metrics`.

use std::future::Future;
use std::io;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

use crate::Health;

/// `/livez` and `/readyz`, to be merged into a program's own router.
///
/// They answer 200 `ok`, or 503 with the reason in plain text.
pub fn probes(health: Health) -> Router {
    let live = health.clone();
    Router::new()
        .route("/livez", get(async move || probe(live.is_live().then_some(()).ok_or("no progress".into()))))
        .route("/readyz", get(async move || probe(health.ready())))
}

fn routes(registry: Registry, health: Health) -> Router {
    probes(health).route("/metrics", get(async move || metrics(&registry)))
}

/// Serves `/livez`, `/readyz` and `/metrics` until `shutdown` ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    health: Health,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, routes(registry, health)).with_graceful_shutdown(shutdown).await
}

fn probe(state: Result<(), String>) -> (StatusCode, String) {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".into()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn metrics(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn probes_follow_health_and_metrics_name_the_build() {
        let health = Health::default();
        let router = routes(crate::registry("tester", "1.2.3").unwrap(), health.clone());
        assert_eq!(ask(&router, "/livez").await, (StatusCode::OK, "ok\n".into()));
        assert_eq!(ask(&router, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()));
        health.set_ready();
        assert_eq!(ask(&router, "/readyz").await.0, StatusCode::OK);
        let (_, text) = ask(&router, "/metrics").await;
        assert!(text.contains(r#"trellis_build_info{service="tester",version="1.2.3"} 1"#), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
