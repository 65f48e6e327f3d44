//! From the creation of a job until its worker begins, with idle workers there.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::board::{Seen, create, names};
use super::{Board, Figures, Site, Size, TAKES, writes};

/// Creates jobs at a steady rate, and deletes each when it is completed.
pub(super) async fn measure(site: &Site, size: &Size, figures: &mut Figures) -> Result<()> {
    let namespace = site.namespace("start").await?;
    let _operator = site.operator(&namespace, "operator-1").await?;
    let _workers = site.workers(&namespace, TAKES)?;
    site.pool(&namespace, "image", size.warm).await?;
    site.pool_ready(&namespace, "image", size.warm).await?;
    let board = Board::watch(&namespace, true);
    let warm_up = names("warm-up", 2 * size.warm);
    board.create(&warm_up, "complete").await?;
    board.until("gone", warm_up.len(), |seen| seen.gone).await?;

    let log = site.requests()?;
    let jobs = names("job", (size.rate * size.seconds) as usize);
    let mut ticks = interval(Duration::from_secs(1) / size.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut creations = JoinSet::new();
    for name in jobs.clone() {
        ticks.tick().await;
        let namespace = namespace.clone();
        creations.spawn(async move {
            let asked = Timestamp::now();
            create(&namespace, &name, "complete").await?;
            Ok::<_, anyhow::Error>((asked, name))
        });
    }
    let created: Vec<_> = creations.join_all().await.into_iter().collect::<Result<_>>()?;
    board.until("gone", warm_up.len() + jobs.len(), |seen| seen.gone).await?;

    let counts = writes(&log.events()?, &namespace);
    eprintln!("writes for {} warm jobs: {counts:?}", jobs.len());
    figures.writes_per_job = Some(counts.values().sum::<usize>() as f64 / jobs.len() as f64);
    let seen = board.seen();
    let start =
        |name: &String| seen.get(name).and_then(|seen: &Seen| seen.started).context("a job never began");
    let starts: Vec<(Timestamp, Timestamp)> =
        created.iter().map(|(asked, name)| Ok((*asked, start(name)?))).collect::<Result<_>>()?;
    let mut waits: Vec<f64> =
        starts.iter().map(|(asked, start)| start.duration_since(*asked).as_secs_f64() * 1000.0).collect();
    waits.sort_unstable_by(f64::total_cmp);
    figures.start_p50_ms = Some(waits[waits.len() / 2]);
    figures.start_p99_ms = Some(waits[waits.len() * 99 / 100]);
    let (first, last) = (starts.iter().map(|pair| pair.1).min(), starts.iter().map(|pair| pair.1).max());
    let lasted = first.zip(last).map(|(first, last)| last.duration_since(first).as_secs_f64());
    figures.start_rate_per_s = lasted.map(|seconds| (starts.len() - 1) as f64 / seconds);
    Ok(())
}
