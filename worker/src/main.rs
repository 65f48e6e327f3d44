//! Runs the jobs that the operator assigns to its pod.
//!
//! `trellis-worker-core` takes and reports them; the [`engine`] fetches the input, runs the model and stores the files.

mod ending;
mod engine;
mod failure;
mod fetch;
mod model;
mod model_folder;
mod order;
mod record;
mod settings;
mod upload;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use kube::{Client, Config};
use prometheus::{Gauge, Registry};
use tokio::net::TcpListener;
use trellis_storage::{HttpsReader, Storage};
use trellis_telemetry::{Health, Traces};
use trellis_worker_core::{Identity, Metrics, Pace, Worker, serve};

use crate::ending::NoModel;
use crate::engine::Trellis;
use crate::fetch::Fetcher;
use crate::model::Model;
use crate::settings::Settings;

fn main() -> ExitCode {
    let settings = Settings::parse();
    let _logging = match trellis_telemetry::init_logs("trellis-worker", &settings.log_level) {
        Ok(logging) => logging,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let termination_log = settings.termination_log.clone();
    let Err(error) = start(settings) else { return ExitCode::SUCCESS };
    tracing::error!(error = format!("{error:#}"), "the worker ends");
    if let Err(error) = ending::leave_message(&termination_log, &error) {
        tracing::warn!(error = error.to_string(), path = %termination_log.display(), "cannot say there why the worker ends");
    }
    ending::exit_code(&error)
}

fn start(settings: Settings) -> anyhow::Result<()> {
    let traces = Traces::from_environment("trellis-worker")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(settings));
    // The model may be in mid-step: waiting for it would outlast the pod's grace period.
    runtime.shutdown_background();
    traces.end();
    result
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let shutdown = trellis_telemetry::shutdown_signal()?;
    let mut shutdown = std::pin::pin!(shutdown);
    let registry = trellis_telemetry::registry("worker", env!("CARGO_PKG_VERSION"))?;
    let metrics = Metrics::new(&registry)?;
    let model_load = model_load(&registry)?;
    let health = Health::default();
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    tokio::spawn(trellis_telemetry::serve(listener, registry, health.clone(), std::future::pending()));

    health.set_not_ready("loading the model");
    let worker = tokio::select! {
        worker = prepare(&settings, metrics, &model_load) => worker?,
        () = &mut shutdown => return Ok(()),
    };
    health.set_not_ready("listing the jobs");
    Ok(serve(worker, settings.watch_namespace, health, shutdown).await?)
}

fn model_load(registry: &Registry) -> Result<Gauge, prometheus::Error> {
    let seconds =
        Gauge::new("trellis_worker_model_load_seconds", "How long it took to download and load the model.")?;
    registry.register(Box::new(seconds.clone()))?;
    Ok(seconds)
}

async fn prepare(
    settings: &Settings,
    metrics: Metrics,
    model_load: &Gauge,
) -> anyhow::Result<Worker<Trellis>> {
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
    let no_model = |source| NoModel { uri: settings.model_uri.to_string(), source };
    let model = load(&storage, settings).await.map_err(no_model)?;
    model_load.set(began.elapsed().as_secs_f64());
    tracing::info!(model = %settings.model_uri, seconds = began.elapsed().as_secs_f64(), "model loaded");
    let https = HttpsReader::new().context("cannot set up TLS")?;
    let fetcher = Fetcher { client: reader, storage: storage.clone(), https };
    let identity = Identity { pod_name: settings.pod_name.clone(), pod_uid: settings.pod_uid.clone() };
    let engine = Trellis { fetcher, storage, output_uri: settings.output_uri.clone(), model };
    let max_jobs = Some(settings.max_jobs).filter(|&most| most > 0);
    Ok(Worker { client, identity, engine, metrics, max_jobs, pace: Pace::default() })
}

async fn load(storage: &Storage, settings: &Settings) -> anyhow::Result<Model> {
    let folder = model_folder::local(storage, &settings.model_uri, &settings.cache_dir).await?;
    Model::load(folder, settings.device).await
}
