//! Measures the REST API against a real API server, with simulated workers where a part needs them: `make bench-api`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum as _};
use trellis_e2e::bench::api::{Part, Size, measure};
use trellis_e2e::bench::publish;

/// Prints a table, and writes the figures as JSON.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    size: Size,
    /// What to measure; everything where left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Where the figures go.
    #[arg(long, default_value = "target/bench/api.json")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    trellis_e2e::exit(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    let parts = if arguments.parts.is_empty() { Part::value_variants() } else { &arguments.parts };
    publish(&measure(&arguments.size, parts).await?, &arguments.out)
}
