//! Runs the jobs that the operator assigns to its pod.
//!
//! [`service`] watches and takes them, [`desk`] decides which are ours, [`attempt`] makes one attempt: [`work`] fetches
//! the input, runs the model and stores the files; [`report`] writes what [`status`] says of it.

mod attempt;
mod desk;
mod failure;
mod fetch;
mod metrics;
mod model;
mod model_folder;
mod order;
mod report;
mod service;
mod settings;
mod status;
mod upload;
mod work;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use kube::{Client, Config};
use tokio::net::TcpListener;
use trellis_storage::{HttpsReader, Storage};
use trellis_telemetry::Health;

use crate::attempt::Context;
use crate::desk::Identity;
use crate::fetch::Fetcher;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::settings::Settings;

fn main() -> ExitCode {
    let settings = Settings::parse();
    if let Err(error) = trellis_telemetry::init_logs("trellis-worker", &settings.log_level) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    match start(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the worker ends");
            exit_code(&error)
        }
    }
}

/// Tells the operator whether a job that was just assigned can be to blame.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let faulty = u8::try_from(trellis_crds::EXIT_FAULTY).ok().filter(|_| error.is::<service::Faulty>());
    faulty.map_or(ExitCode::FAILURE, ExitCode::from)
}

fn start(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(settings));
    // The model may be in mid-step: waiting for it would outlast the pod's grace period.
    runtime.shutdown_background();
    result
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let shutdown = trellis_telemetry::shutdown_signal()?;
    let mut shutdown = std::pin::pin!(shutdown);
    let registry = trellis_telemetry::registry("worker", env!("CARGO_PKG_VERSION"))?;
    let metrics = Metrics::new(&registry)?;
    let health = Health::default();
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    tokio::spawn(trellis_telemetry::serve(listener, registry, health.clone(), std::future::pending()));

    health.set_not_ready("loading the model");
    let context = tokio::select! {
        context = prepare(&settings, metrics) => Arc::new(context?),
        () = &mut shutdown => return Ok(()),
    };
    health.set_not_ready("listing the jobs");
    Ok(service::serve(context, settings.watch_namespace, health, shutdown).await?)
}

async fn prepare(settings: &Settings, metrics: Metrics) -> anyhow::Result<Context> {
    let mut config = Config::infer().await.context("cannot find the Kubernetes API")?;
    let reader = Client::try_from(config.clone()).context("cannot reach the Kubernetes API")?;
    // A client that repeats requests by itself would do so for writes too: those are repeated where their outcome is known.
    config.default_retry = false;
    let client = Client::try_from(config).context("cannot reach the Kubernetes API")?;
    let began = Instant::now();
    let storage = Storage::new(trellis_storage::Settings {
        emulator_host: settings.storage_emulator_host.clone(),
        file_roots: settings.file_roots(),
    });
    let folder = model_folder::local(&storage, &settings.model_uri, &settings.cache_dir).await?;
    let model = Model::load(folder, settings.device).await?;
    metrics.model_loaded(began.elapsed());
    tracing::info!(model = %settings.model_uri, seconds = began.elapsed().as_secs_f64(), "model loaded");
    let https = HttpsReader::new().context("cannot set up TLS")?;
    Ok(Context {
        identity: Identity { pod_name: settings.pod_name.clone(), pod_uid: settings.pod_uid.clone() },
        fetcher: Fetcher { client: reader, storage: storage.clone(), https },
        client,
        storage,
        output_uri: settings.output_uri.clone(),
        model,
        metrics,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_for_its_own_faults_says_so_by_its_exit_code() {
        let code = |error: anyhow::Error| format!("{:?}", exit_code(&error));
        assert_eq!(code(service::Faulty.into()), format!("{:?}", ExitCode::from(75)));
        assert_eq!(code(anyhow::anyhow!("cannot listen")), format!("{:?}", ExitCode::FAILURE));
    }
}
