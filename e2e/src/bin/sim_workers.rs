//! A simulated worker for each worker pod of a namespace, all in this process.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use trellis_e2e::sim::{Fleet, Player};
use trellis_worker_core::Pace;

/// Runs the workers' protocol for every worker pod of a namespace, with an engine that only waits. The cluster is that of KUBECONFIG.
#[derive(Debug, Parser)]
struct Arguments {
    /// The namespace of the pods and of their jobs.
    #[arg(long)]
    namespace: String,
    /// How long an attempt takes, in milliseconds.
    #[arg(long, default_value_t = 20)]
    takes: u64,
    /// Where files are said to be, or, where it is a file:// address, are stored.
    #[arg(long, default_value = "gs://assets/out")]
    output_uri: String,
    /// How large a stored asset is.
    #[arg(long, default_value_t = 1000)]
    bytes: usize,
    /// What to log.
    #[arg(long, default_value = "warn")]
    log_level: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let _logging = trellis_telemetry::init_logs("trellis-sim-workers", &arguments.log_level)?;
    let mut config = kube::Config::infer().await.context("cannot find the Kubernetes API")?;
    config.default_retry = false;
    let client = kube::Client::try_from(config)?;
    let mut player = Player::new(Duration::from_millis(arguments.takes), &arguments.output_uri);
    if arguments.output_uri.starts_with("file://") {
        player = player.storing(arguments.bytes)?;
    }
    let _fleet = Fleet::start(client, &arguments.namespace, player, Pace::default());
    trellis_telemetry::shutdown_signal()?.await;
    Ok(())
}
