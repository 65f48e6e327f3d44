//! What happens to every request, whatever its route: an id, a deadline, a line in the log, metrics, security headers.

pub(crate) mod compression;
pub(crate) mod cors;

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    AGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    WARNING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use prometheus::{HistogramOpts, HistogramVec, Registry};
use tracing::Instrument as _;
use trellis_telemetry::{TraceParent, TraceSpan};
use ulid::Ulid;

use crate::app::App;
use crate::problem::{Code, Problem};
use crate::request::Prefer;

/// How long a request may take up to the response's headers; files then stream for as long as they need.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the header `Warning` says of an answer that may be old (RFC 7234).
const STALE: &str = "110 - \"Response is Stale\"";

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `trellis_api_request_seconds{method,route,status}`.
#[derive(Clone, Debug)]
pub(crate) struct Requests(HistogramVec);

impl Requests {
    /// Adds the metric to `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = HistogramOpts::new(
            "trellis_api_request_seconds",
            "Time from a request's headers to its response's headers.",
        )
        .buckets(vec![0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]);
        let histogram = HistogramVec::new(opts, &["method", "route", "status"])?;
        registry.register(Box::new(histogram.clone()))?;
        Ok(Self(histogram))
    }
}

/// Gives the request an id, logs and counts it. The log has the route's template and never the path or the query:
/// those hold ids and may hold whatever a client mistyped.
pub(crate) async fn observe(State(requests): State<Requests>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Ulid::generate().to_string();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "DELETE" | "OPTIONS" | "PUT" | "PATCH") => known,
        _ => "other",
    }
    .to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let routine = is_routine(&request);
    let trace = (!routine).then(|| trace(&request, &method, &route));
    let place = trace.as_ref().map(TraceSpan::place).unwrap_or_default();
    let span = tracing::info_span!("request", request = id, method, route, trace = place.trace_id());
    request.extensions_mut().insert(place);
    let mut response = next.run(request).instrument(span.clone()).await;

    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    requests.0.with_label_values(&[&method, &route, &status.to_string()]).observe(elapsed.as_secs_f64());
    if let Some(trace) = trace {
        trace.set("http.response.status_code", i64::from(status));
    }
    if routine {
        span.in_scope(|| tracing::debug!(status, milliseconds = elapsed.as_millis() as u64, "answered"));
    } else {
        span.in_scope(|| tracing::info!(status, milliseconds = elapsed.as_millis() as u64, "answered"));
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    response
}

/// Whether it is a probe, of which one comes every few seconds for ever.
pub(crate) fn is_routine(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    matches!(route, Some("/livez" | "/readyz"))
}

/// The request's span, in the trace that the caller names.
fn trace(request: &Request, method: &str, route: &str) -> TraceSpan {
    let parent = request.headers().get("traceparent").and_then(|text| text.to_str().ok());
    let trace =
        TraceSpan::serve(format!("{method} {route}"), &TraceParent::parse(parent.unwrap_or_default()));
    trace.set("http.request.method", method.to_owned());
    trace.set("http.route", route.to_owned());
    trace
}

/// Ends requests that take longer than a minute, a body that trickles in included, beside what the client would have them wait.
pub(crate) async fn deadline(request: Request, next: Next) -> Response {
    let limit = DEADLINE + Prefer::of(request.headers()).wait.unwrap_or_default();
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Timeout, "The request took more than 60 s. Try again.")
            .retry_after(5)
            .into_response(),
    }
}

/// Says of what is read about jobs how old it may be, while the API server is away.
pub(crate) async fn tell_age(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_read = request.method().is_safe() && request.uri().path().starts_with("/api/v1/jobs");
    let mut response = next.run(request).await;
    let is_answered = response.status().is_success() || response.status().is_redirection();
    if let Some(age) = app.jobs.age().filter(|_| is_read && is_answered) {
        response.headers_mut().insert(AGE, age.as_secs().into());
        response.headers_mut().insert(WARNING, HeaderValue::from_static(STALE));
    }
    response
}

/// Tells browsers to treat what comes from here as data: nothing is sniffed, framed, run, or kept in a cache. And, where the settings ask for it,
/// to come by TLS alone.
pub(crate) async fn secure(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Some(hsts) = &app.policy.borrow().hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    default(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(headers, CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    default(headers, REFERRER_POLICY, "no-referrer");
    default(headers, CACHE_CONTROL, "no-store");
    response
}

fn default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
