//! Puts the parts together.

use std::sync::Arc;
use std::time::Duration;

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
use crate::time::Clock;

/// How long a replica that is to end keeps the Lease for the writes that are under way. Those about jobs are
/// fenced by the state they were decided from, and waiting for a slow one would cost every job the time.
const HAND_OVER: Duration = Duration::from_secs(1);

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address for health and metrics is not free, or its server failed.
    #[error("cannot serve health and metrics on {0}: {1}; set LISTEN to a free address")]
    Serve(std::net::SocketAddr, #[source] std::io::Error),
    /// A part of the process ended though nothing asked it to: a fault of the program. The other replica takes over.
    #[error("{0} ended by itself, which is a fault of this program; its log says more")]
    Ended(&'static str),
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
    let clock = Clock::new();
    let client = instrument(client, metrics.clone(), progress.clone(), clock.clone());
    let failed = |error| RunError::Serve(settings.listen, error);
    let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;

    let (role_sender, role) = watch::channel(Role::Standby);
    let [stop, resign, close] = [(); 3].map(|()| CancellationToken::new());
    // Tasks of a set end with it.
    let (mut scheduling, mut campaigning, mut serving) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    let scheduler = Scheduler {
        scope: Scope::new(client.clone(), settings.watch_namespace.clone()),
        applier: Arc::new(Applier::new(client.clone(), &settings, metrics.clone(), clock.clone())),
        settings: settings.clone(),
        metrics,
        health: health.clone(),
        progress: progress.clone(),
        clock,
        role,
    };
    scheduling.spawn(scheduler.run(stop.clone()));
    campaigning.spawn(Candidate::new(client, &settings, progress).campaign(role_sender, resign.clone()));
    serving.spawn(trellis_telemetry::serve(listener, registry, health, close.clone().cancelled_owned()));

    let result = tokio::select! {
        () = shutdown => Ok(()),
        _ = scheduling.join_next() => Err(RunError::Ended("the scheduler")),
        _ = campaigning.join_next() => Err(RunError::Ended("the campaign for the Lease")),
        Some(served) = serving.join_next() => {
            Err(served.map_or(RunError::Ended("the server"), |served| match served {
                Ok(()) => RunError::Ended("the server"),
                Err(error) => failed(error),
            }))
        }
    };
    stop.cancel();
    let _ = tokio::time::timeout(HAND_OVER, ended(&mut scheduling)).await;
    resign.cancel();
    tokio::join!(ended(&mut campaigning), ended(&mut scheduling));
    close.cancel();
    ended(&mut serving).await;
    result
}

async fn ended<T: 'static>(tasks: &mut JoinSet<T>) {
    while tasks.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use clap::Parser as _;
    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// Runs against an API server that is not available, until the part that asks for `resource` panics.
    async fn run_until_a_panic(resource: &'static str) -> RunError {
        let service = tower::service_fn(move |request: Request<Body>| async move {
            assert!(!request.uri().path().contains(resource), "a fault of the program");
            Ok::<_, Infallible>(Response::builder().status(503).body(Body::empty()).unwrap())
        });
        let settings = Settings::parse_from([
            "",
            "--operator-namespace=a",
            "--pod-name=p",
            "--output-uri=gs://b",
            "--listen=127.0.0.1:0",
        ]);
        run(Client::new(service, "a"), settings, std::future::pending()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_replica_of_which_a_part_panics_ends_so_that_another_takes_over() {
        let error = run_until_a_panic("leases").await;
        assert!(matches!(error, RunError::Ended("the campaign for the Lease")), "{error}");
        let error = run_until_a_panic("workerpools").await;
        assert!(matches!(error, RunError::Ended("the scheduler")), "{error}");
    }
}
