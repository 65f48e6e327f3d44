//! Measures the operator against a real API server, with nodes and pods by kwok and simulated workers: `make bench-operator`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum as _};
use trellis_e2e::bench::{Part, Size, measure};

/// Prints a table, and writes the figures as JSON.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    size: Size,
    /// What to measure; everything where left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Where the figures go.
    #[arg(long, default_value = "target/bench/operator.json")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
async fn run(arguments: Arguments) -> Result<()> {
    let parts = if arguments.parts.is_empty() { Part::value_variants() } else { &arguments.parts };
    let figures = measure(&arguments.size, parts).await?;
    println!("{figures}");
    let folder = arguments.out.parent().context("--out names no file")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    std::fs::write(&arguments.out, serde_json::to_vec_pretty(&figures)?)
        .with_context(|| format!("cannot write {}", arguments.out.display()))?;
    println!("The figures are in {}.", arguments.out.display());
    Ok(())
}
