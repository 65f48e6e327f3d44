//! What the operator holds.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{Figures, Site, Size};
use crate::Namespace;
use crate::processes::Operator;

/// The most workers in a pool by the schema.
const LARGEST_POOL: usize = 1000;

/// Adds pools until there are as many pods as are asked for; then looks at an operator that begins with all of them.
pub(super) async fn measure(
    site: &Site,
    namespace: &Namespace,
    operator: Operator,
    size: &Size,
    figures: &mut Figures,
) -> Result<()> {
    let mut left = size.pods.saturating_sub(size.workers);
    for number in 0.. {
        let workers = left.min(LARGEST_POOL);
        if workers == 0 {
            break;
        }
        let name = format!("more-{number}");
        site.pool(namespace, &name, workers).await?;
        site.pool_ready(namespace, &name, workers).await?;
        left -= workers;
    }
    operator.process.kill();
    let operator = site.operator(namespace, "operator-3").await?;
    // It is elected and plans in this time.
    sleep(Duration::from_secs(30)).await;
    let (now, peak) = operator.process.memory()?;
    figures.rss_mib = Some(now);
    figures.rss_peak_mib = Some(peak);
    Ok(())
}
