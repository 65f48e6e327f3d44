//! A client through which calls and watches go wrong as the schedule says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http::header::DATE;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use k8s_openapi::jiff::SignedDuration;
use k8s_openapi::jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::schedule::{Fault, Kind, Schedule};
use crate::watches;

/// What a call is answered with.
pub(crate) type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// What goes wrong in one namespace.
pub(crate) struct Faults {
    pub(crate) schedule: Schedule,
    /// While it holds, things go wrong.
    pub(crate) on: AtomicBool,
    /// Writes that reached the server, but for those of Leases.
    pub(crate) writes: AtomicU64,
    begin: Instant,
    /// What went wrong, in order, for people.
    pub(crate) log: Mutex<Vec<String>>,
}

impl Faults {
    pub(crate) fn new(schedule: Schedule) -> Arc<Self> {
        let (on, writes, log) = (AtomicBool::new(true), AtomicU64::new(0), Mutex::default());
        Arc::new(Self { schedule, on, writes, begin: Instant::now(), log })
    }

    pub(crate) fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
    }

    /// Calls that something happened to.
    pub(crate) fn count(&self) -> u64 {
        self.log.lock().unwrap().len() as u64
    }
}

/// A program whose calls go wrong. It may be started more than once.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) faults: Arc<Faults>,
    calls: Mutex<HashMap<Kind, u64>>,
    lines: AtomicU64,
    /// The last list and the one before it, by what was asked for.
    lists: Mutex<HashMap<String, [Option<Bytes>; 2]>>,
}

impl Program {
    pub(crate) fn new(name: impl Into<String>, faults: &Arc<Faults>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            faults: faults.clone(),
            calls: Mutex::default(),
            lines: AtomicU64::new(0),
            lists: Mutex::default(),
        })
    }

    /// `client` as this program has it from one start to its death, which is told by the token. The dead get no answers.
    pub(crate) fn client(self: &Arc<Self>, client: &Client) -> (Client, CancellationToken) {
        let (program, inner, death) = (self.clone(), client.clone(), CancellationToken::new());
        let told = death.clone();
        let service = tower::service_fn(move |request| {
            let (program, inner, death) = (program.clone(), inner.clone(), death.clone());
            async move {
                tokio::select! {
                    answer = program.answer(inner, request, &death) => answer,
                    () = death.cancelled() => std::future::pending().await,
                }
            }
        });
        (Client::new(service, client.default_namespace().to_owned()), told)
    }

    /// The number of the next line of a watch.
    pub(crate) fn next_line(&self) -> u64 {
        self.lines.fetch_add(1, Relaxed)
    }

    fn next_call(&self, kind: Kind) -> u64 {
        let mut calls = self.calls.lock().unwrap();
        let number = calls.entry(kind).or_default();
        *number += 1;
        *number
    }

    async fn answer(
        self: Arc<Self>,
        client: Client,
        request: Request<Body>,
        death: &CancellationToken,
    ) -> Result<Response<Answer>, BoxError> {
        let call = Call::read(request).await?;
        let fault = match self.faults.on.load(Relaxed) {
            true => self.faults.schedule.call(&self.name, call.kind(), self.next_call(call.kind())),
            false => Fault::Pass,
        };
        if fault != Fault::Pass {
            self.faults.note(format!("{}: {} {}: {fault:?}", self.name, call.method, call.path()));
        }
        match fault {
            Fault::Pass => self.send(&client, &call, death).await,
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                self.send(&client, &call, death).await
            }
            Fault::Lost => Err(broken()),
            Fault::AnswerLost => {
                self.send(&client, &call, death).await?;
                Err(broken())
            }
            Fault::Late(time) => {
                // It is on its way, whatever becomes of the program.
                let death = death.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    self.send(&client, &call, &death).await
                });
                Err(broken())
            }
            Fault::Twice => {
                self.send(&client, &call, death).await?;
                self.send(&client, &call, death).await
            }
            Fault::Refused(code) => Ok(refused(code)),
            Fault::KilledBefore => die(death).await,
            Fault::KilledAfter => {
                self.send(&client, &call, death).await?;
                die(death).await
            }
            Fault::Stale => self.stale(&client, &call, death).await,
        }
    }

    async fn send(
        self: &Arc<Self>,
        client: &Client,
        call: &Call,
        death: &CancellationToken,
    ) -> Result<Response<Answer>, BoxError> {
        if call.kind() == Kind::Write && !call.path().contains("/leases") {
            self.faults.writes.fetch_add(1, Relaxed);
        }
        let mut response = client.send(call.request()).await?;
        self.misdate(&mut response);
        if call.is_watch() {
            return Ok(response.map(|body| watches::troubled(self.clone(), death.clone(), body)));
        }
        let (parts, body) = response.into_parts();
        let bytes = body.collect_bytes().await?;
        if call.kind() == Kind::ListToWatch && parts.status.is_success() {
            let mut lists = self.lists.lock().unwrap();
            let [before, last] = lists.entry(call.uri.to_string()).or_default();
            *before = last.replace(bytes.clone());
        }
        Ok(Response::from_parts(parts, whole(bytes)))
    }

    /// Makes the answer tell another time, where the clock that the program goes by is off.
    fn misdate<B>(&self, answer: &mut Response<B>) {
        let error = self.faults.schedule.clock_error(self.faults.begin.elapsed());
        let date = answer
            .headers()
            .get(DATE)
            .and_then(|date| DateTimeParser::new().parse_timestamp(date.as_bytes()).ok());
        let date = date.filter(|_| error != 0).map(|date| date + SignedDuration::from_secs(error));
        let date = date.and_then(|date| DateTimePrinter::new().timestamp_to_rfc9110_string(&date).ok());
        if let Some(date) = date.and_then(|date| date.parse().ok()) {
            answer.headers_mut().insert(DATE, date);
        }
    }

    async fn stale(
        self: &Arc<Self>,
        client: &Client,
        call: &Call,
        death: &CancellationToken,
    ) -> Result<Response<Answer>, BoxError> {
        let answer = self.send(client, call, death).await?;
        let before =
            self.lists.lock().unwrap().get(&call.uri.to_string()).and_then(|[before, _]| before.clone());
        Ok(match before {
            Some(before) if answer.status().is_success() => answer.map(|_| whole(before)),
            _ => answer,
        })
    }
}

/// A request that can be sent more than once.
struct Call {
    method: Method,
    uri: http::Uri,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Call {
    async fn read(request: Request<Body>) -> Result<Self, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        Ok(Self { method: parts.method, uri: parts.uri, headers: parts.headers, body })
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn path(&self) -> &str {
        self.uri.path()
    }

    fn has(&self, parameter: &str) -> bool {
        self.uri.query().is_some_and(|query| query.contains(parameter))
    }

    fn is_watch(&self) -> bool {
        self.method == Method::GET && self.has("watch=true")
    }

    fn kind(&self) -> Kind {
        match self.method {
            Method::GET if !self.is_watch() && self.has("limit=") => Kind::ListToWatch,
            Method::GET => Kind::Read,
            _ => Kind::Write,
        }
    }
}

async fn die(death: &CancellationToken) -> Result<Response<Answer>, BoxError> {
    death.cancel();
    std::future::pending().await
}

fn whole(bytes: Bytes) -> Answer {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn broken() -> BoxError {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the connection broke (on purpose)").into()
}

fn refused(code: u16) -> Response<Answer> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Refused", "message": "refused (on purpose)", "details": {"retryAfterSeconds": 1},
    });
    let answer = Response::builder().status(code).header("retry-after", "1");
    answer.body(whole(status.to_string().into())).expect("a code and a header that exist")
}
