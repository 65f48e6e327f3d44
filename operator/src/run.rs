//! Puts the parts together.

use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trellis_telemetry::Health;

use crate::apply::Applier;
use crate::client::{WatchProgress, instrument};
use crate::leader::{Candidate, Role};
use crate::metrics::Metrics;
use crate::observe::Scope;
use crate::scheduler::Scheduler;
use crate::settings::Settings;

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address for health and metrics is not free, or its server failed.
    #[error("cannot serve health and metrics on {0}: {1}; set LISTEN to a free address")]
    Serve(std::net::SocketAddr, #[source] std::io::Error),
    /// A metric was registered twice.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs one replica of the operator until `shutdown` ends: then completes the writes that are under way and releases the Lease, so
/// that the other replica takes over at once. Dropping the future stops everything as a crash would.
///
/// # Errors
/// When the address for health and metrics cannot be served.
pub async fn run(
    client: Client,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let settings = Arc::new(settings);
    let registry = trellis_telemetry::registry("trellis-operator", env!("CARGO_PKG_VERSION"))?;
    let metrics = Metrics::new(&registry)?;
    let health = Health::default();
    let progress = WatchProgress::new();
    let client = instrument(client, metrics.clone(), progress.clone());
    let failed = |error| RunError::Serve(settings.listen, error);
    let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;

    let (role_sender, role) = watch::channel(Role::Standby);
    let [stop, resign, close] = [(); 3].map(|()| CancellationToken::new());
    // Tasks of a set end with it.
    let (mut scheduling, mut campaigning, mut serving) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    let scheduler = Scheduler {
        scope: Scope::new(client.clone(), settings.watch_namespace.clone()),
        applier: Arc::new(Applier::new(client.clone(), &settings, metrics.clone())),
        settings: settings.clone(),
        metrics,
        health: health.clone(),
        progress,
        role,
    };
    scheduling.spawn(scheduler.run(stop.clone()));
    campaigning.spawn(Candidate::new(client, &settings).campaign(role_sender, resign.clone()));
    serving.spawn(trellis_telemetry::serve(listener, registry, health, close.clone().cancelled_owned()));

    tokio::select! {
        () = shutdown => {}
        Some(Ok(served)) = serving.join_next() => served.map_err(failed)?,
    }
    stop.cancel();
    while scheduling.join_next().await.is_some() {}
    resign.cancel();
    while campaigning.join_next().await.is_some() {}
    close.cancel();
    while serving.join_next().await.is_some() {}
    Ok(())
}
