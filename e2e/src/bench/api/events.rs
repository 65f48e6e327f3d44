//! Streams of events of jobs that run.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::site::{Site, USER, prompt, submit};
use super::{Figures, Size};
use crate::kubelet::Kubelet;
use crate::load::Events;
use crate::processes::{Operator, OperatorSettings, SimulatedWorkers, simulated_workers};

/// How many simulated workers run the jobs, and how long each takes for one.
const WORKERS: usize = 16;
const TAKES: Duration = Duration::from_millis(20);
/// How long all jobs may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Opens a stream for each of as many jobs; then operator and workers start, and every stream tells of its job's end.
pub(super) async fn measure(site: &Site, size: &Size, figures: &mut Figures) -> Result<()> {
    let namespace = site.namespace("events", WORKERS).await?;
    let rest = site.rest(&namespace).await?;
    let before = rest.process.memory()?.0;
    let mut streams = Vec::new();
    for number in 0..size.streams {
        let id = submit(&rest, &prompt(number as u64)).await?;
        let path = format!("/api/v1/jobs/{id}/events");
        let mut events = Events::open(rest.address(), &path, rest.key(USER)).await?;
        let first = events.next().await?.context("a stream ends before it begins")?;
        ensure!(first.data["status"] == "pending", "a stream begins with {}", first.data);
        streams.push(events);
    }
    let open = rest.process.memory()?.0;

    let folder = rest.folder();
    let _workers = simulated_workers(&site.server, &namespace, &SimulatedWorkers::taking(TAKES), folder)?;
    let _kubelet = Kubelet::play(namespace.api::<Pod>());
    let _operator = Operator::start(&site.server, &namespace, &OperatorSettings::default(), folder).await?;
    let followers: JoinSet<_> = streams.into_iter().map(follow).collect();
    let followed = timeout(LIMIT, followers.join_all()).await.context("streams do not end")?;
    let followed: Vec<Followed> = followed.into_iter().collect::<Result<_>>()?;

    let mut lags: Vec<f64> = followed.iter().map(|followed| followed.lag).collect();
    lags.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| lags.get((lags.len() * part / 100).min(lags.len() - 1)).copied();
    figures.sse_clients = Some(followed.len());
    figures.sse_events = Some(followed.iter().map(|followed| followed.events).sum());
    (figures.sse_lag_p50_ms, figures.sse_lag_p99_ms) = (at(50), at(99));
    figures.sse_rss_mib = Some(open - before);
    Ok(())
}

/// What a client heard.
struct Followed {
    events: usize,
    /// From the job's end, by the worker's clock, which is this machine's, until the client heard of it, in ms.
    lag: f64,
}

async fn follow(mut events: Events) -> Result<Followed> {
    let mut count = 1;
    let mut last = None;
    while let Some(event) = events.next().await? {
        count += 1;
        last = Some((event.data, Timestamp::now()));
    }
    let (status, heard) = last.context("a stream tells nothing")?;
    ensure!(status["status"] == "completed", "a stream ends with {status}");
    let ended: Timestamp = status["completed_at"].as_str().context("no time of the end")?.parse()?;
    Ok(Followed { events: count, lag: heard.duration_since(ended).as_secs_f64() * 1000.0 })
}
