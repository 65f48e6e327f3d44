//! The service from its start to its end.

use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use kube::runtime::watcher;
use kube::{Api, Client};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trellis_storage::{HttpsReader, ObjectUri, Storage};
use trellis_telemetry::Health;

use crate::app::{self, App};
use crate::auth::keys::{self, KeysError};
use crate::cluster;
use crate::jobs::archive::Archive;
use crate::jobs::inputs::Inputs;
use crate::jobs::store::Jobs;
use crate::middleware::Requests;
use crate::settings::Settings;
use crate::webhooks::{WebhookError, Webhooks};

/// How long requests may go on after the shutdown began: less than the 30 s that Kubernetes gives a pod.
const DRAIN: Duration = Duration::from_secs(20);

/// Why the service cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The keys file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// `INPUT_URI` is no address of a storage.
    #[error("INPUT_URI: {0}")]
    InputUri(#[source] trellis_storage::Error),
    /// `OUTPUT_URI` is no address of a storage.
    #[error("OUTPUT_URI: {0}")]
    OutputUri(#[source] trellis_storage::Error),
    /// Webhooks cannot be set up.
    #[error(transparent)]
    Webhooks(#[from] WebhookError),
    /// TLS for image URLs cannot be set up.
    #[error("cannot set up the reader of https:// images: {0}")]
    Https(String),
    /// A metric cannot be registered.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The listener failed.
    #[error("cannot serve: {0}")]
    Listener(#[from] io::Error),
    /// What keeps the service up to date ended though nothing asked it to: a fault of the program, whose answers would grow old without a
    /// word.
    #[error("a part of the service ended by itself, which is a fault of this program; its log says more")]
    Ended,
}

/// Serves on `listener` until `shutdown` ends, and then for at most 20 s more what was under way.
///
/// Ready once jobs and pools were read; before that no jobs are made.
///
/// # Errors
/// When the settings cannot be used or the listener fails.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    client: Client,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let registry = trellis_telemetry::registry("trellis-api", env!("CARGO_PKG_VERSION"))?;
    let requests = Requests::register(&registry)?;
    let lease_namespace = settings.pool_namespace.clone();
    let (app, mut background) = start(settings, client, &registry)?;
    let ending = app.stopping.clone();
    let mut sender = JoinSet::new();
    sender.spawn(app.webhooks.run(lease_namespace, ending.clone()));
    let router = app::router(app, registry, requests);

    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let ends = ending.clone();
    let graceful = async move {
        shutdown.await;
        ends.cancel();
        // Received unless the server has failed already.
        let _ = stopping.send(());
    };
    // Without Nagle's algorithm: answers are small, and each would wait for the one before to be acknowledged.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let server = axum::serve(listener, router).with_graceful_shutdown(graceful).into_future();
    let served = tokio::select! {
        result = server => result.map_err(ServeError::from),
        Some(_) = background.join_next() => Err(ServeError::Ended),
        Some(_) = sender.join_next(), if !ending.is_cancelled() => Err(ServeError::Ended),
        () = async { let _ = stopped.await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("requests were cut off that were still under way {} s after the shutdown began", DRAIN.as_secs());
            Ok(())
        }
    };
    if ending.is_cancelled() {
        // What webhooks were told is written down, and another replica goes on.
        let _ = tokio::time::timeout(DRAIN, sender.join_next()).await;
    }
    served
}

/// The application, and what keeps it up to date for as long as the set lives; none of it ends by itself.
fn start(settings: Settings, client: Client, registry: &Registry) -> Result<(App, JoinSet<()>), ServeError> {
    let input_uri: ObjectUri = settings.input_uri.parse().map_err(ServeError::InputUri)?;
    let output_uri = settings.output_uri.as_deref().map(str::parse::<ObjectUri>).transpose();
    let output_uri = output_uri.map_err(ServeError::OutputUri)?;
    let storage = Storage::new(trellis_storage::Settings {
        emulator_host: settings.storage_emulator_host.clone(),
        file_roots: file_roots(&settings, [Some(&input_uri), output_uri.as_ref()]),
    });
    let https = HttpsReader::new().map_err(|error| ServeError::Https(error.to_string()))?;
    let webhooks = Webhooks::new(client.clone(), settings.webhooks.clone(), registry)?;
    let (keys, reload) = keys::watch(settings.api_keys_file.clone())?;
    let (pools, fill_pools) = cluster::watch(Api::all(client.clone()), watcher::Config::default());
    let archive = Archive::new(storage.clone(), output_uri);
    let (jobs, fill_jobs) = Jobs::watch(client, archive, pools.clone(), settings.pool_namespace.clone());
    let health = Health::default();

    let (jobs_read, pools_read, becomes_ready) = (jobs.clone(), pools.clone(), health.clone());
    let ready = async move {
        if jobs_read.ready().await && pools_read.wait_until_ready().await.is_ok() {
            becomes_ready.set_ready();
            tracing::info!("ready");
        }
        pending().await
    };
    let mut background = JoinSet::new();
    background.spawn(reload);
    background.spawn(fill_jobs);
    background.spawn(fill_pools);
    background.spawn(ready);
    let inputs = Inputs::new(storage.clone(), https, input_uri, settings.max_image_bytes);
    let settings = Arc::new(settings);
    let places = Arc::default();
    let stopping = CancellationToken::new();
    let app = App { settings, keys, jobs, pools, places, inputs, storage, webhooks, health, stopping };
    Ok((app, background))
}

fn file_roots(settings: &Settings, folders: [Option<&ObjectUri>; 2]) -> Vec<PathBuf> {
    let folders = folders.into_iter().flatten().filter_map(|uri| uri.file_path().map(PathBuf::from));
    settings.file_roots.iter().cloned().chain(folders).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_whose_watch_is_at_fault_ends() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.yaml");
        std::fs::write(&keys, "keys: []").unwrap();
        let settings = Settings {
            api_keys_file: keys,
            input_uri: "gs://bucket/inputs".into(),
            output_uri: None,
            storage_emulator_host: None,
            pool_namespace: "trellis".into(),
            file_roots: Vec::new(),
            max_image_bytes: 1 << 20,
            webhooks: crate::webhooks::WebhookSettings::default(),
        };
        let faulty = tower::service_fn(async |_: axum::http::Request<kube::client::Body>| {
            panic!("a fault");
            #[expect(unreachable_code, reason = "tells the type")]
            Ok::<_, std::convert::Infallible>(axum::http::Response::new(kube::client::Body::empty()))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = serve(listener, settings, Client::new(faulty, "a"), pending()).await;
        assert!(matches!(served, Err(ServeError::Ended)), "{served:?}");
    }
}
