//! One trace from a request to the end of its job; and what neither traces nor logs may tell.

use std::time::Duration;

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use trellis_crds::Phase;
use trellis_e2e::kubelet::Kubelet;
use trellis_e2e::sim::{Fleet, Player};
use trellis_telemetry::Traces;
use trellis_worker_core::Pace;

use crate::collector::Collector;
use crate::fixture::Fixture;
use crate::logs::Logs;
use crate::service::Service;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const USER: &str = "user-nobody-may-see";
const PROMPT: &str = "a-prompt-nobody-may-see";
const LINK: &str = "logging.googleapis.com/trace";

fn of<'a>(spans: &'a [Span], name: &str) -> Result<&'a Span> {
    let span = spans.iter().find(|span| span.name == name && hex::encode(&span.trace_id) == TRACE);
    span.with_context(|| format!("no span {name:?} of the trace in {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_and_its_job_are_one_trace_that_tells_no_prompt_and_no_user() -> Result<()> {
    let collector = Collector::start().await?;
    let traces = Traces::export("tester", Some(&collector.endpoint))?;
    let logs = Logs::of_process()?;
    let fixture = Fixture::new("traces").await?;
    let _kubelet = Kubelet::play(fixture.pods());
    let player = Player::new(Duration::ZERO, "gs://assets/out");
    let _fleet = Fleet::start(fixture.client.clone(), fixture.namespace.name(), player, Pace::default());
    fixture.create_pool(json!({"inputs": ["image", "text"]})).await?;
    let operator = fixture.operator("operator-1");
    let service = Service::start(&fixture, USER).await?;

    let header = format!("00-{TRACE}-{CALLER}-01");
    let path = "/api/v1/generate/text-to-3d";
    let id = service.submit(path, &header, &[("prompt", PROMPT)].into()).await?;
    let done = fixture.job_in(&id, Phase::Completed).await?;
    let carried = done.traceparent().context("the job carries no trace")?;
    service.stop().await?;
    operator.stop().await?;
    tokio::task::spawn_blocking(|| traces.end()).await?;

    let (spans, exported) = collector.taken()?;
    let request = of(&spans, "POST /api/v1/generate/text-to-3d")?;
    assert_eq!(hex::encode(&request.parent_span_id), CALLER);
    assert_eq!(*carried, format!("00-{TRACE}-{}-01", hex::encode(&request.span_id)));
    for name in ["wait for a worker", "attempt"] {
        let span = of(&spans, name)?;
        assert_eq!(span.parent_span_id, request.span_id, "{name}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    for message in ["answered", "decided", "job taken", "job ended"] {
        let linked = logs.lines(message).into_iter().any(|line| line[LINK] == TRACE);
        assert!(linked, "no line {message:?} names the trace");
    }
    for secret in [USER, PROMPT] {
        assert!(!exported.contains(secret), "a trace tells {secret}");
        let told =
            logs.text().lines().filter(|line| line.contains(secret)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(told, Vec::<String>::new());
    }
    fixture.namespace.delete().await
}
