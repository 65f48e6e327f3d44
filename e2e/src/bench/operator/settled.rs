//! What the operator writes about jobs that are over.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{Figures, Site, Size, writes};
use crate::Namespace;
use crate::processes::Operator;

/// Lets time pass, with a new operator after half of it. Returns that one.
pub(super) async fn measure(
    site: &Site,
    namespace: &Namespace,
    operator: Operator,
    size: &Size,
    figures: &mut Figures,
) -> Result<Operator> {
    // Counts in a pool's status lag by ten seconds.
    sleep(Duration::from_secs(15)).await;
    let log = site.requests()?;
    let half = Duration::from_secs(size.settled_seconds) / 2;
    sleep(half).await;
    operator.process.kill();
    let operator = site.operator(namespace, "operator-2").await?;
    sleep(half).await;
    let counts = writes(&log.events()?, namespace);
    eprintln!("writes while nothing happened: {counts:?}");
    figures.settled_writes = Some(counts.values().sum());
    figures.settled_seconds = Some(size.settled_seconds);
    Ok(operator)
}
