//! What the operator does to jobs and to the API server, with many of both: `make bench-operator`.

mod board;
mod ceiling;
mod drain;
mod failover;
mod figures;
mod memory;
mod settled;
mod site;
mod start;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use crate::{AuditEvent, Namespace};
use board::Board;
pub use figures::Figures;
use site::Site;

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Size {
    /// How many jobs are created in a second, for the time until they start.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// For how many seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How many warm workers these jobs have.
    #[arg(long, default_value_t = 32)]
    warm: usize,
    /// How many jobs are queued.
    #[arg(long, default_value_t = 10_000)]
    queued: usize,
    /// How many workers drain the queue; the API takes no more than 1,000 in one pool.
    #[arg(long, default_value_t = 200)]
    workers: usize,
    /// How long nothing happens to the completed jobs, in seconds.
    #[arg(long, default_value_t = 600)]
    settled_seconds: u64,
    /// How many worker pods there are when the operator's memory is looked at.
    #[arg(long, default_value_t = 2000)]
    pods: usize,
    /// How often a leader is killed.
    #[arg(long, default_value_t = 10)]
    kills: usize,
}

/// The parts of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The time until jobs start on warm workers, and what they cost the API server.
    Start,
    /// The drain of a queue; then the writes and the memory with its completed jobs.
    Drain,
    /// The time until another replica goes on.
    Failover,
    /// The time of one decision.
    Decision,
}

/// How long a simulated attempt takes.
const TAKES: Duration = Duration::from_millis(20);

/// Measures `parts`.
///
/// # Errors
/// When something does not start, or what is waited for does not happen in minutes.
pub async fn measure(size: &Size, parts: &[Part]) -> Result<Figures> {
    let mut figures = Figures::default();
    if parts.contains(&Part::Decision) {
        for queued in [100, 1000, 10_000, 100_000] {
            let took = trellis_operator::bench::decision(queued, 2000);
            figures.decision_us.push((queued, took.as_secs_f64() * 1e6));
        }
    }
    if parts.iter().all(|part| *part == Part::Decision) {
        return Ok(figures);
    }
    let site = Site::start().await?;
    if parts.contains(&Part::Start) {
        start::measure(&site, size, &mut figures).await?;
    }
    if parts.contains(&Part::Failover) {
        failover::measure(&site, size, &mut figures).await?;
    }
    if parts.contains(&Part::Drain) {
        drain::measure(&site, size, &mut figures).await?;
    }
    Ok(figures)
}

/// The writes in a namespace, but for those by which replicas of the operator agree on their leader.
fn writes(events: &[AuditEvent], namespace: &Namespace) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event.is_write()) {
        let Some(object) = event.object_ref.as_ref().filter(|object| object.namespace == namespace.name())
        else {
            continue;
        };
        if object.resource != "leases" {
            *counts
                .entry(format!("{} {} {}", event.verb, object.resource, object.subresource))
                .or_default() += 1;
        }
    }
    counts
}
