//! Web pages of other origins (CORS): those that the settings list may use the service.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, AGE, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    IF_MATCH, IF_NONE_MATCH, IF_RANGE, LINK, LOCATION, ORIGIN, RANGE, RETRY_AFTER, VARY, WARNING,
};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tower::{Layer as _, Service as _};
use tower_http::cors::CorsLayer;

use crate::app::App;

/// How long a browser may keep what it was told about another origin.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Answers the question of a listed origin's page what it may send, and lets it see our answers. For all others nothing changes: browsers then keep
/// the answer from the page.
pub(crate) async fn cors(State(app): State<App>, request: Request, next: Next) -> Response {
    let policy = app.policy.borrow().clone();
    let origin = request.headers().get(ORIGIN).filter(|origin| policy.origins.contains(origin)).cloned();
    match origin {
        Some(origin) => answer(layer(origin).layer(next).call(request).await),
        None => {
            let mut response = next.run(request).await;
            if !policy.origins.is_empty() {
                response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
            }
            response
        }
    }
}

fn answer(result: Result<Response, Infallible>) -> Response {
    match result {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Without credentials of the browser: keys and tokens are sent by the page itself.
fn layer(origin: HeaderValue) -> CorsLayer {
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_MATCH,
            IF_NONE_MATCH,
            IF_RANGE,
            RANGE,
            name("idempotency-key"),
            name("last-event-id"),
            name("prefer"),
            name("traceparent"),
            name("x-api-key"),
        ])
        .expose_headers([
            ACCEPT_RANGES,
            AGE,
            CONTENT_DISPOSITION,
            CONTENT_RANGE,
            ETAG,
            LINK,
            LOCATION,
            RETRY_AFTER,
            WARNING,
            name("preference-applied"),
            name("ratelimit"),
            name("ratelimit-policy"),
            name("x-request-id"),
        ])
        .max_age(MAX_AGE)
}
