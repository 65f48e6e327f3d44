//! The operator and the workers' protocol while everything around them fails.
//!
//! For each seed two operators and up to three workers, all real but for what makes the asset, run against a real API server through
//! clients that delay, lose, repeat and refuse calls, cut, expire and reorder watches, tell a time that jumps by an hour, and kill programs at their
//! writes; people change jobs and the pool. Then nothing goes wrong
//! any more, and every job has to come to its end, once.
//!
//! `TRELLIS_FAULT_SEEDS=500` plays so many seeds; `TRELLIS_FAULT_SEED=17` plays one again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was played")]

mod engine;
mod history;
mod invariants;
mod kubelet;
mod layer;
mod schedule;
mod stage;
mod watches;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use trellis_e2e::{ApiServer, install_crds};

use schedule::Schedule;

/// Seeds that are played where nobody asks for more.
const SEEDS: u64 = 25;
/// Seeds that are played at a time. They mostly wait.
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_run_twice_whatever_fails() -> Result<()> {
    let server = ApiServer::shared().await?;
    let client = server.client().await?;
    install_crds(&client).await?;
    let seeds = match number("TRELLIS_FAULT_SEED")? {
        Some(seed) => seed..seed + 1,
        None => 0..number("TRELLIS_FAULT_SEEDS")?.unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let played = futures::stream::iter(seeds.map(|seed| stage::play(&client, Schedule { seed })));
    let played: Vec<_> = played.buffer_unordered(AT_ONCE).collect().await;
    let (mut failed, mut faults, mut jobs, mut attempts, mut together, mut writes) =
        (Vec::new(), 0, 0, 0, 0, 0);
    for outcome in played {
        match outcome {
            Ok(outcome) => {
                faults += outcome.faults;
                jobs += outcome.jobs;
                attempts += outcome.attempts;
                together += outcome.together;
                writes += outcome.writes;
            }
            Err(error) => failed.push(format!("{error:?}")),
        }
    }
    println!(
        "{count} seeds: {jobs} jobs, {attempts} attempts ({together} in batches), {faults} faults, {writes} writes; {} failed",
        failed.len()
    );
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

fn number(variable: &str) -> Result<Option<u64>> {
    let text = std::env::var(variable).ok();
    text.map(|text| text.parse().with_context(|| format!("{variable} is no number: {text}"))).transpose()
}
