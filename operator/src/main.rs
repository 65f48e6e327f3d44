//! The program `trellis-operator`.

use clap::Parser as _;
use trellis_operator::Settings;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    trellis_telemetry::init_logs("trellis-operator", &settings.log_level)?;
    let shutdown = trellis_telemetry::shutdown_signal()?;
    let client = kube::Client::try_default().await?;
    trellis_operator::run(client, settings, shutdown).await?;
    Ok(())
}
