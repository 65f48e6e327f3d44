//! A photo becomes a GLB on a real Kubernetes.

use std::process::ExitCode;

use clap::Parser;
use trellis_e2e::demo::run_demo;

/// Builds, starts and installs what is missing, turns the example photo into out/photo.glb, and says how to go on.
#[derive(Debug, Parser)]
struct Arguments {
    /// Leave it at the installation.
    #[arg(long)]
    install_only: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run_demo(Arguments::parse().install_only).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}
