//! The client that all parts share: every request has a timeout and is counted, the progress of watches is kept, and answers tell the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::DATE;
use http::{Method, Request, Response};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;
use kube::Client;
use kube::client::Body;
use tower::BoxError;

use crate::metrics::Metrics;
use crate::time::Clock;

/// How long a request may take; a watch, until its answer begins.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// What the operator asks for, by plural name; `true` for what it watches.
const RESOURCES: [(&str, bool); 5] =
    [("generationjobs", true), ("workerpools", true), ("pods", true), ("leases", false), ("events", false)];

/// When each watched resource was last listed or watched with success.
#[derive(Clone, Debug)]
pub(crate) struct WatchProgress(Arc<Mutex<HashMap<&'static str, Instant>>>);

impl WatchProgress {
    /// As if every resource had just been listed.
    pub(crate) fn new() -> Self {
        let watched = RESOURCES.iter().filter(|(_, watched)| *watched);
        let now = Instant::now();
        Self(Arc::new(Mutex::new(watched.map(|(resource, _)| (*resource, now)).collect())))
    }

    /// For how long the resource whose last answer is the oldest has had none. Watches are renewed every minute.
    pub(crate) fn age(&self) -> Duration {
        let progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.values().map(Instant::elapsed).max().unwrap_or_default()
    }

    /// As if no resource had had an answer for so long.
    #[cfg(test)]
    pub(crate) fn grow_old(&self, age: Duration) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.values_mut().for_each(|time| *time = Instant::now() - age);
    }

    pub(crate) fn note(&self, resource: &'static str) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(time) = progress.get_mut(resource) {
            *time = Instant::now();
        }
    }
}

/// `client`, with the timeout, the metrics and the record of watches; `clock` goes by its answers.
pub(crate) fn instrument(client: Client, metrics: Metrics, progress: WatchProgress, clock: Clock) -> Client {
    instrument_within(CALL_TIMEOUT, client, metrics, progress, clock)
}

fn instrument_within(
    limit: Duration,
    client: Client,
    metrics: Metrics,
    progress: WatchProgress,
    clock: Clock,
) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request| {
        let (client, metrics, progress, clock) =
            (client.clone(), metrics.clone(), progress.clone(), clock.clone());
        async move {
            let call = Call::of(&request);
            let answer = tokio::time::timeout(limit, send(client, request, call.verb, &clock)).await;
            let answer = answer.unwrap_or_else(|elapsed| Err(elapsed.into()));
            let code =
                answer.as_ref().map_or("none".to_owned(), |answer| answer.status().as_u16().to_string());
            metrics.api_requests.with_label_values(&[call.verb, call.resource, &code]).inc();
            if matches!(call.verb, "list" | "watch")
                && answer.as_ref().is_ok_and(|answer| answer.status().is_success())
            {
                progress.note(call.resource);
                metrics.note_watch(call.resource);
            }
            answer
        }
    });
    Client::new(service, namespace)
}

/// Sends the request; reads the whole answer, unless it is a watch's. The answer's time is that of its beginning.
async fn send(
    client: Client,
    request: Request<Body>,
    verb: &str,
    clock: &Clock,
) -> Result<Response<Body>, BoxError> {
    let response = client.send(request).await?;
    if let Some(time) = time_of(&response) {
        clock.steer(time);
    }
    if verb == "watch" {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect_bytes().await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// When the answer was given, by the API server's clock.
fn time_of<B>(answer: &Response<B>) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(answer.headers().get(DATE)?.as_bytes()).ok()
}

/// What a request asks for, in few words.
#[derive(Debug, PartialEq)]
struct Call {
    verb: &'static str,
    resource: &'static str,
}

impl Call {
    fn of<B>(request: &Request<B>) -> Self {
        let mut segments = request.uri().path().split('/');
        let known = |segment: &str| RESOURCES.iter().find(|(resource, _)| *resource == segment);
        let resource = segments.find_map(known).map_or("other", |(resource, _)| *resource);
        let has_name = segments.next().is_some();
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let verb = match *request.method() {
            Method::GET if watches => "watch",
            Method::GET if has_name => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self { verb, resource }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_the_time() {
        let answer = Response::builder().header(DATE, "Sun, 06 Nov 1994 08:49:37 GMT").body(()).unwrap();
        assert_eq!(time_of(&answer), Some("1994-11-06T08:49:37Z".parse().unwrap()));
        assert_eq!(time_of(&Response::new(())), None);
    }

    #[tokio::test]
    async fn no_call_is_waited_for_without_end_and_one_without_an_answer_is_no_progress() {
        let silent =
            tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>());
        let registry = prometheus::Registry::new();
        let progress = WatchProgress::new();
        progress.grow_old(Duration::from_secs(100));
        let metrics = Metrics::new(&registry).unwrap();
        let limit = Duration::from_millis(1);
        let client = instrument_within(
            limit,
            Client::new(silent, "a"),
            metrics.clone(),
            progress.clone(),
            Clock::new(),
        );
        for path in ["/api/v1/pods?limit=50", "/api/v1/pods?watch=true", "/api/v1/namespaces/a/pods/image-1"]
        {
            let request = Request::get(path).body(Body::empty()).unwrap();
            assert!(client.send(request).await.is_err(), "{path}");
        }
        for verb in ["list", "watch", "get"] {
            assert_eq!(metrics.api_requests.with_label_values(&[verb, "pods", "none"]).get(), 1, "{verb}");
        }
        assert!(progress.age() >= Duration::from_secs(100));
    }

    #[test]
    fn requests_are_told_apart_by_verb_and_resource() {
        let call = |method: Method, uri: &str| {
            let call = Call::of(&Request::builder().method(method).uri(uri).body(()).unwrap());
            (call.verb, call.resource)
        };
        let group = "/apis/trellis3d.dev/v1alpha1";
        assert_eq!(
            call(Method::GET, &format!("{group}/generationjobs?limit=500")),
            ("list", "generationjobs")
        );
        let watch = format!("{group}/namespaces/pods/workerpools?&watch=true&timeoutSeconds=60");
        assert_eq!(call(Method::GET, &watch).0, "watch");
        let status = format!("{group}/namespaces/a/generationjobs/cup/status");
        assert_eq!(call(Method::PUT, &status), ("update", "generationjobs"));
        assert_eq!(call(Method::GET, "/api/v1/namespaces/a/pods/image-1"), ("get", "pods"));
        assert_eq!(call(Method::GET, "/version"), ("list", "other"));
    }
}
