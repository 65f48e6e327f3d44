//! From the end of a leader until the next one gives a job to a worker.

use std::collections::VecDeque;

use anyhow::{Context as _, Result};
use k8s_openapi::jiff::Timestamp;

use super::board::{Seen, create};
use super::{Board, Figures, Site, Size, TAKES};

/// Kills one leader after the other.
pub(super) async fn measure(site: &Site, size: &Size, figures: &mut Figures) -> Result<()> {
    let namespace = site.namespace("failover").await?;
    let mut replicas = VecDeque::from([site.operator(&namespace, "operator-0").await?]);
    let _workers = site.workers(&namespace, TAKES)?;
    site.pool(&namespace, "image", 4).await?;
    site.pool_ready(&namespace, "image", 4).await?;
    let board = Board::watch(&namespace, false);
    let mut longest = 0.0_f64;
    for kill in 1..=size.kills {
        replicas.push_back(site.operator(&namespace, &format!("operator-{kill}")).await?);
        let leader = replicas.pop_front().context("no replica")?;
        let killed = Timestamp::now();
        leader.process.kill();
        let name = format!("job-{kill}");
        create(&namespace, &name, "complete").await?;
        board.until("begun", kill, |seen| seen.started.is_some()).await?;
        let seen = board.seen();
        let began = seen.get(&name).and_then(|seen: &Seen| seen.started).context("the job never began")?;
        let took = began.duration_since(killed).as_secs_f64();
        eprintln!("fail-over {kill}: {took:.1} s");
        longest = longest.max(took);
    }
    figures.failover_s = Some(longest);
    Ok(())
}
