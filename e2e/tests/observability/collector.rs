//! A collector of traces, as far as OTLP over HTTP goes.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Bodies = Arc<Mutex<Vec<Bytes>>>;

/// Takes what is exported to it. Ends when dropped.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    bodies: Bodies,
    _server: JoinSet<()>,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let bodies = Bodies::default();
        let router = axum::Router::new().route("/v1/traces", post(take)).with_state(bodies.clone());
        let mut server = JoinSet::new();
        server.spawn(async move { _ = axum::serve(listener, router).await });
        Ok(Self { endpoint, bodies, _server: server })
    }

    /// The spans that came, and all that came as text, in which secrets would show.
    pub(crate) fn taken(&self) -> Result<(Vec<Span>, String)> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spans = Vec::new();
        for body in bodies.iter() {
            let resources = ExportTraceServiceRequest::decode(body.clone())?.resource_spans;
            spans.extend(resources.into_iter().flat_map(|one| one.scope_spans).flat_map(|scope| scope.spans));
        }
        Ok((spans, String::from_utf8_lossy(&bodies.concat()).into_owned()))
    }
}

async fn take(State(bodies): State<Bodies>, body: Bytes) {
    bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
}
