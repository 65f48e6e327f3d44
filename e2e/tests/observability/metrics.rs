//! What the programs export while they work.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use anyhow::Result;
use serde_json::json;
use tokio::sync::oneshot;
use trellis_crds::Phase;

use crate::fixture::Fixture;
use crate::service::Service;
use crate::shipped::{dashboard_queries, rule_queries, series};
use crate::workers::Workers;

/// An operator that serves its metrics there.
fn operator(
    fixture: &Fixture,
    listen: SocketAddr,
) -> (tokio::task::JoinHandle<Result<()>>, oneshot::Sender<()>) {
    let settings = trellis_operator::Settings { listen, ..fixture.settings("operator-1") };
    let (shutdown, stopped) = oneshot::channel::<()>();
    let client = fixture.client.clone();
    let run = async move { Ok(trellis_operator::run(client, settings, async { _ = stopped.await }).await?) };
    (tokio::spawn(run), shutdown)
}

/// The names of the series in an exposition.
fn names(exposition: &str) -> BTreeSet<&str> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).collect()
}

#[tokio::test]
async fn every_series_that_rules_and_dashboard_name_is_exported() -> Result<()> {
    let fixture = Fixture::new("metrics").await?;
    let _workers = Workers::start(&fixture.namespace);
    fixture.create_pool(json!({"replicas": {"min": 1, "max": 1}})).await?;
    let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (running, shutdown) = operator(&fixture, listen);
    // One job is done, one runs, one waits: what is measured by job, worker and queue is there.
    fixture.create_job("cup", "complete", json!({})).await?;
    fixture.job_in("cup", Phase::Completed).await?;
    fixture.create_job("plate", "hold", json!({})).await?;
    fixture.job_in("plate", Phase::Processing).await?;
    fixture.create_job("bowl", "hold", json!({})).await?;
    fixture.job_in("bowl", Phase::Pending).await?;
    let service = Service::start(&fixture, "alice").await?;
    // Who has no key is refused, and counted.
    service.get("/api/v1/jobs").await?;
    let exported =
        reqwest::get(format!("http://{listen}/metrics")).await?.text().await? + &service.metrics().await?;

    let queries = [rule_queries()?, dashboard_queries()?].concat();
    let wanted = series(&queries);
    assert!(wanted.len() > 10, "{wanted:?}");
    let missing: Vec<_> = wanted.difference(&names(&exported)).copied().collect();
    assert_eq!(missing, Vec::<&str>::new(), "{exported}");
    // The bucket that the rules about late starts select.
    assert!(exported.contains("trellis_operator_queue_seconds_bucket{le=\"29."), "{exported}");

    service.stop().await?;
    let _ = shutdown.send(());
    running.await??;
    fixture.namespace.delete().await
}
