//! The service from its start to its end.

mod connections;
mod tls;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trellis_storage::{HttpsReader, ObjectUri, Storage};
use trellis_telemetry::Health;

use crate::app::{self, App, Shared};
use crate::auth::jwt::Fetcher;
use crate::auth::keys::{Keys, KeysError};
use crate::cluster;
use crate::jobs::archive::Archive;
use crate::jobs::inputs::Inputs;
use crate::jobs::store::Jobs;
use crate::limits::quotas::Quotas;
use crate::middleware::Requests;
use crate::reload;
use crate::settings::Settings;
use crate::settings::policy::{Policy, PolicyError};
use crate::webhooks::{WebhookError, Webhooks};

pub use tls::TlsError;

/// How long requests may go on after the shutdown began: less than the 30 s that Kubernetes gives a pod.
const DRAIN: Duration = Duration::from_secs(20);

/// How often limits forget what does not count any more.
const FORGET: Duration = Duration::from_secs(60);

/// Why the service cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The keys file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The settings file cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `INPUT_URI` is no address of a storage.
    #[error("INPUT_URI: {0}")]
    InputUri(#[source] trellis_storage::Error),
    /// `OUTPUT_URI` is no address of a storage.
    #[error("OUTPUT_URI: {0}")]
    OutputUri(#[source] trellis_storage::Error),
    /// Webhooks cannot be set up.
    #[error(transparent)]
    Webhooks(#[from] WebhookError),
    /// TLS for image URLs, or for the keys of tokens, cannot be set up.
    #[error("cannot set up TLS for https:// addresses: {0}")]
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

/// Where the service is to be reached.
#[derive(Debug)]
pub struct Listeners {
    /// The API and its page.
    pub api: TcpListener,
    /// `/metrics`, `/livez` and `/readyz`, always without TLS.
    pub metrics: TcpListener,
}

/// Serves on `listeners` until `shutdown` ends, and then for at most 20 s more what was under way.
///
/// Ready once jobs and pools were read; before that no jobs are made.
///
/// # Errors
/// When the settings cannot be used or a listener fails.
pub async fn serve(
    listeners: Listeners,
    settings: Settings,
    client: Client,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let registry = trellis_telemetry::registry("trellis-api", env!("CARGO_PKG_VERSION"))?;
    let requests = Requests::register(&registry)?;
    let limit = connections::Limit::register(settings.max_connections, &registry)?;
    let webhooks = Webhooks::new(client.clone(), settings.webhooks.clone(), &registry)?;
    let lease_namespace = settings.pool_namespace.clone();
    let mut background = JoinSet::new();
    let tls = tls(&settings, &mut background).await?;
    let app = start(settings, client, webhooks, &mut background)?;
    let metrics = trellis_telemetry::serve(listeners.metrics, registry, app.health.clone(), pending::<()>());
    background.spawn(async move { _ = metrics.await });
    let stopping = app.stopping.clone();
    let mut sender = JoinSet::new();
    sender.spawn(app.webhooks.run(lease_namespace, stopping.clone()));
    let router = app::router(app, requests);

    let handle = Handle::<SocketAddr>::new();
    let server = connections::serve(listeners.api, router, handle.clone(), limit, tls);
    let sender_failed = async {
        sender.join_next().await;
        // Told to stop, it may well be done before the server is.
        if stopping.is_cancelled() {
            pending::<()>().await;
        }
    };
    let served = tokio::select! {
        result = server => result.map_err(ServeError::from),
        Some(_) = background.join_next() => Err(ServeError::Ended),
        () = sender_failed => Err(ServeError::Ended),
        () = async { shutdown.await; stopping.cancel(); handle.graceful_shutdown(None); tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("requests were cut off that were still under way {} s after the shutdown began", DRAIN.as_secs());
            handle.shutdown();
            Ok(())
        }
    };
    if stopping.is_cancelled() {
        // What webhooks were told is written down, and another replica goes on.
        let _ = tokio::time::timeout(DRAIN, sender.join_next()).await;
    }
    served
}

async fn tls(settings: &Settings, background: &mut JoinSet<()>) -> Result<Option<RustlsConfig>, TlsError> {
    let (Some(cert), Some(key)) = (settings.tls_cert.clone(), settings.tls_key.clone()) else {
        return Ok(None);
    };
    let (config, renew) = tls::watch(tls::Files { cert, key }).await?;
    background.spawn(renew);
    Ok(Some(config))
}

/// The application; what keeps it up to date goes into `background`, and none of it ends by itself.
fn start(
    settings: Settings,
    client: Client,
    webhooks: Webhooks,
    background: &mut JoinSet<()>,
) -> Result<App, ServeError> {
    let input_uri: ObjectUri = settings.input_uri.parse().map_err(ServeError::InputUri)?;
    let output_uri = settings.output_uri.as_deref().map(str::parse::<ObjectUri>).transpose();
    let output_uri = output_uri.map_err(ServeError::OutputUri)?;
    let storage = Storage::new(trellis_storage::Settings {
        emulator_host: settings.storage_emulator_host.clone(),
        file_roots: file_roots(&settings, [Some(&input_uri), output_uri.as_ref()]),
    });
    let https = HttpsReader::new().map_err(|error| ServeError::Https(error.to_string()))?;
    let path = settings.api_keys_file.clone();
    let (keys, reload_keys) = reload::watch("API keys", move || Keys::read(&path))?;
    let policy = policy(settings.config_file.clone(), background)?;
    let quotas = Quotas::default();
    background.spawn(forget(policy.clone(), quotas.clone()));
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
    background.spawn(reload_keys);
    background.spawn(fill_jobs);
    background.spawn(fill_pools);
    background.spawn(ready);
    let inputs = Inputs::new(storage.clone(), https, input_uri, settings.max_image_bytes);
    let stopping = CancellationToken::new();
    Ok(App::new(Shared {
        settings,
        keys,
        policy,
        quotas,
        jobs,
        pools,
        places: Default::default(),
        inputs,
        storage,
        webhooks,
        health,
        stopping,
    }))
}

/// The settings file; without one, settings that stay empty.
fn policy(
    path: Option<PathBuf>,
    background: &mut JoinSet<()>,
) -> Result<watch::Receiver<Arc<Policy>>, ServeError> {
    let Some(path) = path else { return Ok(watch::channel(Arc::default()).1) };
    let fetcher = Fetcher::new().map_err(|error| ServeError::Https(error.to_string()))?;
    let (policy, reload) = reload::watch("settings", move || Policy::read(&path, &fetcher))?;
    background.spawn(reload);
    Ok(policy)
}

/// Forgets from time to time what does not count any more.
async fn forget(policy: watch::Receiver<Arc<Policy>>, quotas: Quotas) {
    loop {
        tokio::time::sleep(FORGET).await;
        policy.borrow().rates.forget();
        quotas.forget(Timestamp::now());
    }
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
        let settings = Settings::new(keys, "gs://bucket/inputs".into(), "trellis".into());
        let faulty = tower::service_fn(async |_: axum::http::Request<kube::client::Body>| {
            panic!("a fault");
            #[expect(unreachable_code, reason = "tells the type")]
            Ok::<_, std::convert::Infallible>(axum::http::Response::new(kube::client::Body::empty()))
        });
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listeners = Listeners { api: listen().await, metrics: listen().await };
        let served = serve(listeners, settings, Client::new(faulty, "a"), pending()).await;
        assert!(matches!(served, Err(ServeError::Ended)), "{served:?}");
    }
}
