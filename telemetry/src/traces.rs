//! Traces: spans by OTLP over HTTP for whoever collects them, and W3C trace contexts from one program to the next.
//! <https://www.w3.org/TR/trace-context/>, <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value, global};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;

/// The header, and the key, of a trace context.
const TRACEPARENT: &str = "traceparent";

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot export traces to {endpoint:?} ({source}); set OTEL_EXPORTER_OTLP_ENDPOINT to an address such as http://collector:4318"
)]
pub struct TracesError {
    endpoint: String,
    source: ExporterBuildError,
}

/// The export of a process's spans. Without an endpoint there is none, and spans cost next to nothing.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts the export to the collector that the variable `OTEL_EXPORTER_OTLP_ENDPOINT` names, where it names one.
    ///
    /// # Errors
    /// When it is no address.
    pub fn from_environment(service: &'static str) -> Result<Self, TracesError> {
        Self::export(service, std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().as_deref())
    }

    /// Starts the export for the whole process as `service`, to the OTLP collector at `endpoint`, such as `http://collector:4318`.
    /// OpenTelemetry's variables for samplers, batches and headers work as they do elsewhere.
    ///
    /// # Errors
    /// When `endpoint` is no address.
    pub fn export(service: &'static str, endpoint: Option<&str>) -> Result<Self, TracesError> {
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()
            .map_err(|source| TracesError { endpoint: endpoint.to_owned(), source })?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(service).with_attribute(version).build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        global::set_tracer_provider(provider.clone());
        Ok(Self(Some(provider)))
    }

    /// Exports what is left. Blocks for at most 5 s, so not within a task.
    pub fn end(self) {
        if let Some(Err(error)) = self.0.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "some traces were not exported");
        }
    }
}

/// The place of something in a trace, as another program gave it; or none.
#[derive(Clone, Default)]
pub struct TraceParent(Context);

impl TraceParent {
    /// From the text of a `traceparent`. What is no such text is no place in a trace.
    pub fn parse(text: &str) -> Self {
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), text.to_owned())]);
        Self(TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier))
    }

    /// The text of a `traceparent`, where there is a trace.
    pub fn to_text(&self) -> Option<String> {
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(&self.0, &mut carrier);
        carrier.remove(TRACEPARENT)
    }

    /// The trace's id for logs, in hex.
    pub fn trace_id(&self) -> Option<String> {
        let span = self.0.span();
        let context = span.span_context();
        context.is_valid().then(|| context.trace_id().to_string())
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("TraceParent").field(&self.to_text()).finish()
    }
}

/// Something that takes time. It ends when it is dropped.
#[derive(Debug)]
pub struct TraceSpan(Context);

impl TraceSpan {
    /// Begins to serve the request of another program.
    pub fn serve(name: impl Into<Cow<'static, str>>, parent: &TraceParent) -> Self {
        Self::begin(SpanBuilder::from_name(name).with_kind(SpanKind::Server), parent)
    }

    /// Begins to work on what another program left to be done.
    pub fn consume(name: impl Into<Cow<'static, str>>, parent: &TraceParent) -> Self {
        Self::begin(SpanBuilder::from_name(name).with_kind(SpanKind::Consumer), parent)
    }

    /// Something that began at `start` and ends when the span is dropped.
    pub fn since(start: SystemTime, name: impl Into<Cow<'static, str>>, parent: &TraceParent) -> Self {
        Self::begin(SpanBuilder::from_name(name).with_start_time(start), parent)
    }

    fn begin(builder: SpanBuilder, parent: &TraceParent) -> Self {
        let span = global::tracer("trellis3d").build_with_context(builder, &parent.0);
        Self(parent.0.with_span(span))
    }

    /// Its place in the trace: the parent of what follows from it.
    pub fn place(&self) -> TraceParent {
        TraceParent(self.0.clone())
    }

    /// Says something about it. No prompts, no ids of users: traces are read by many.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// Marks it as failed, with a reason of few words.
    pub fn fail(&self, reason: &'static str) {
        self.0.span().set_status(Status::error(reason));
    }
}

impl Drop for TraceSpan {
    fn drop(&mut self) {
        self.0.span().end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_context_is_carried_on_as_it_came_where_nothing_is_exported() {
        let parent = TraceParent::parse(TEXT);
        assert_eq!(parent.trace_id().as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(TraceSpan::serve("request", &parent).place().to_text().as_deref(), Some(TEXT));
    }

    #[test]
    fn what_is_no_trace_context_is_ignored() {
        for text in
            ["", "00-0-0-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &TEXT.repeat(3)]
        {
            let parent = TraceParent::parse(text);
            assert_eq!((parent.trace_id(), parent.to_text()), (None, None), "{text}");
            assert_eq!(TraceSpan::serve("request", &parent).place().to_text(), None);
        }
    }

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        for endpoint in [None, Some("")] {
            Traces::export("tester", endpoint).unwrap().end();
        }
    }
}
