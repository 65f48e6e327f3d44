//! Plays load on the REST API and tells whether it was borne: `make load`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum as _};
use trellis_e2e::ApiServer;
use trellis_e2e::load::{Limits, Outcome, Scenario, Target, play};
use trellis_e2e::processes::{Service, ServiceSettings};

/// Prints a table. The exit code is 1 where more requests failed, or answers took longer, than the limits say.
#[derive(Debug, Parser)]
struct Arguments {
    /// The service's address; where left out, one is started for the time of the run, with simulated workers.
    #[arg(long, requires = "key")]
    url: Option<String>,
    /// An API key of it that may read and write. The jobs that are submitted stay.
    #[arg(long, env = "TRELLIS_API_KEY", hide_env_values = true)]
    key: Option<String>,
    /// What to play; everything where left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// How many requests a second there are at the most.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Every so many requests one submits a job.
    #[arg(long, default_value_t = 20)]
    submit_every: u64,
    /// How long the soak is, in seconds.
    #[arg(long, default_value_t = 120)]
    soak_seconds: u64,
    /// How many clients there are.
    #[arg(long, default_value_t = 256)]
    clients: usize,
    #[command(flatten)]
    limits: Limits,
}

#[tokio::main]
async fn main() -> ExitCode {
    trellis_e2e::exit(run(&Arguments::parse()).await)
}

async fn run(arguments: &Arguments) -> Result<()> {
    if let (Some(url), Some(key)) = (&arguments.url, &arguments.key) {
        return play_all(arguments, &Target::prepare(url, key).await?).await;
    }
    let server = ApiServer::start().await?;
    let settings = ServiceSettings { workers: 8, ..ServiceSettings::default() };
    let service = Service::start(&server, "load", &settings).await?;
    let target = Target::prepare(&service.rest.url(), service.rest.key("alice")).await?;
    play_all(arguments, &target).await
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
async fn play_all(arguments: &Arguments, target: &Target) -> Result<()> {
    let scenarios = match arguments.scenarios.as_slice() {
        [] => Scenario::value_variants(),
        chosen => chosen,
    };
    let soak = Duration::from_secs(arguments.soak_seconds);
    let mut faults = Vec::new();
    print!("{}", Outcome::HEAD);
    for scenario in scenarios {
        let stages = scenario.stages(arguments.rate, soak);
        let tallies = play(target, stages, arguments.clients, arguments.submit_every).await?;
        let outcome = Outcome { scenario: *scenario, tallies };
        print!("{}", outcome.rows());
        faults.extend(outcome.faults(&arguments.limits));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}
