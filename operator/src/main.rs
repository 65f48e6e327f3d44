//! The program `trellis-operator`.

use clap::Parser as _;
use trellis_operator::Settings;
use trellis_telemetry::Traces;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let _logging = trellis_telemetry::init_logs("trellis-operator", &settings.log_level)?;
    let traces = Traces::from_environment("trellis-operator")?;
    let shutdown = trellis_telemetry::shutdown_signal()?;
    let mut config = kube::Config::infer().await?;
    // The operator repeats by itself what may be repeated, and counts every request.
    config.default_retry = false;
    let client = kube::Client::try_from(config)?;
    let ran = trellis_operator::run(client, settings, shutdown).await;
    let ended = tokio::task::spawn_blocking(|| traces.end()).await;
    ran?;
    Ok(ended?)
}
