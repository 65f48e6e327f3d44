//! Which replica sends: the one that holds the Lease. Should two overlap for a moment, a message is delivered twice, with one id.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// For how long, in seconds, others leave a Lease alone that is not renewed.
const DURATION: u64 = 15;
/// How long before the end of the Lease its holder renews it, in seconds.
const GRACE: u64 = 5;
/// How long to wait before the Lease is asked for again, when it cannot be had.
const AGAIN: Duration = Duration::from_secs(5);
/// How long giving it back may take.
const RELEASE: Duration = Duration::from_secs(3);

/// Runs `work` whenever this replica holds the Lease `name`, until it is told to `resign`. The work has a token of its own, which is cancelled when the
/// Lease is lost, or to be given back: that is when the work has ended.
pub(super) async fn lead<F: Future<Output = ()>>(
    client: Client,
    namespace: &str,
    name: &str,
    resign: CancellationToken,
    work: impl Fn(CancellationToken) -> F,
) {
    let Some(manager) = resign.run_until_cancelled(candidate(client, namespace, name)).await else { return };
    let (mut leads, manager) = manager.watch().await;
    while resign.run_until_cancelled(leads.wait_for(|leads| *leads)).await.is_some_and(|leads| leads.is_ok())
    {
        tracing::info!(lease = name, "this replica sends webhooks");
        let stop = resign.child_token();
        let lost = async {
            // An error means that the manager has ended, and with it the Lease.
            let _ = leads.wait_for(|leads| !*leads).await;
            stop.cancel();
            std::future::pending::<()>().await
        };
        tokio::select! {
            () = work(stop.clone()) => {}
            () = lost => {}
        }
        tracing::info!(lease = name, "this replica sends no webhooks any more");
    }
    // The manager gives the Lease back when nobody listens to it any more.
    drop(leads);
    let _ = timeout(RELEASE, manager).await;
}

/// A candidate for the Lease, once the API server has shown it.
async fn candidate(client: Client, namespace: &str, name: &str) -> LeaseManager {
    loop {
        let builder = LeaseManagerBuilder::new(client.clone(), name).with_namespace(namespace);
        match builder.with_duration(DURATION).with_grace(GRACE).build().await {
            Ok(manager) => return manager,
            Err(error) => tracing::warn!(lease = name, %error, "the Lease for webhooks cannot be had"),
        }
        sleep(AGAIN).await;
    }
}
