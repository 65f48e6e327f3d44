//! A long queue, and workers that get free all at once.

use anyhow::Result;
use tokio::time::Instant;
use trellis_crds::Phase;

use super::board::{Seen, names};
use super::{Board, Figures, Site, Size, TAKES, ceiling, memory, settled, writes};

/// Keeps all workers busy while the queue grows, lets go of them, and counts how fast the queue is done.
pub(super) async fn measure(site: &Site, size: &Size, figures: &mut Figures) -> Result<()> {
    let namespace = site.namespace("drain").await?;
    let operator = site.operator(&namespace, "operator-1").await?;
    let workers = site.workers(&namespace, TAKES)?;
    site.pool(&namespace, "image", size.workers).await?;
    site.pool_ready(&namespace, "image", size.workers).await?;
    let board = Board::watch(&namespace, false);
    let holds = names("hold", size.workers);
    board.create(&holds, "hold").await?;
    board.until("processing", holds.len(), |seen| seen.phase == Some(Phase::Processing)).await?;
    let queue = names("job", size.queued);
    board.create(&queue, "complete").await?;
    // Each job in the queue has been told why it waits.
    let waits = |seen: &Seen| seen.explained && seen.phase == Some(Phase::Pending);
    board.until("told why they wait", queue.len(), waits).await?;

    let log = site.requests()?;
    let start = Instant::now();
    board.delete(&holds).await?;
    board.until("completed", queue.len(), |seen| seen.phase == Some(Phase::Completed)).await?;
    figures.drain_per_s = Some(queue.len() as f64 / start.elapsed().as_secs_f64());
    let counts = writes(&log.events()?, &namespace);
    eprintln!("writes for {} queued jobs: {counts:?}", queue.len());
    figures.drain_writes_per_job =
        Some((counts.values().sum::<usize>() - holds.len()) as f64 / queue.len() as f64);
    workers.kill();

    let operator = settled::measure(site, &namespace, operator, size, figures).await?;
    memory::measure(site, &namespace, operator, size, figures).await?;
    figures.ceiling_per_s = Some(ceiling::measure(site, size).await?);
    Ok(())
}
