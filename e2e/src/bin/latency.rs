//! How long the service itself takes for a job on a warm worker, and what a job costs the API server: `make bench-cluster`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, PostParams};
use trellis_crds::{GenerationJob, Phase};
use trellis_e2e::cluster::{self, Cluster};
use trellis_e2e::installation::job_writes;
use trellis_e2e::photo::{photo_job, provide_photo};
use trellis_e2e::{Namespace, in_namespace};

const LIMIT: Duration = Duration::from_secs(120);

/// Runs jobs one after the other on a warm worker of the installation that `demo --install-only` makes, and prints what they took.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many jobs.
    #[arg(long, default_value_t = 20)]
    jobs: usize,
    /// Steps in each stage of a job; few, so that what shows is the service and not the model.
    #[arg(long, default_value_t = 1)]
    steps: i32,
}

#[tokio::main]
async fn main() -> ExitCode {
    trellis_e2e::exit(run(&Arguments::parse()).await)
}

/// What one job took.
struct Sample {
    /// From just before the request to create it until its worker started.
    start: SignedDuration,
    /// Until a watch showed it completed.
    complete: SignedDuration,
}

async fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.jobs > 0, "no job, no figures: give --jobs 1 or more");
    in_namespace(&cluster::client().await?, "latency", async |namespace| {
        provide_photo(namespace).await?;
        // The worker may have to start first.
        measure(namespace, "warm-up", arguments.steps).await?;
        let log = if cluster::is_foreign() { None } else { Some(Cluster::new().audit_log()?) };
        let mut samples = Vec::new();
        for number in 1..=arguments.jobs {
            samples.push(measure(namespace, &format!("job-{number}"), arguments.steps).await?);
        }
        let writes =
            log.map(|log| Ok::<_, anyhow::Error>(job_writes(&log.events()?, namespace.name()).len()));
        report(&samples, writes.transpose()?);
        Ok(())
    })
    .await
}

/// Creates a job, follows it to its end and to its event, and deletes it.
async fn measure(namespace: &Namespace, name: &str, steps: i32) -> Result<Sample> {
    let jobs = namespace.api::<GenerationJob>();
    let begin = Timestamp::now();
    jobs.create(&PostParams::default(), &photo_job(name, steps)).await?;
    let is_done = |job: Option<&GenerationJob>| job.is_some_and(GenerationJob::is_finished);
    let job = namespace.wait_for(name, "done", LIMIT, is_done).await?.context("the job is gone")?;
    let complete = Timestamp::now().duration_since(begin);
    let start = match &job.status {
        Some(status) if job.phase() == Phase::Completed => status.start_time.clone(),
        status => bail!("the job {name} did not complete: {status:#?}"),
    };
    let start = start.context("a completed job without startTime")?.0;
    namespace.wait_for_event(name, "Completed", LIMIT).await?;
    jobs.delete(name, &DeleteParams::default()).await?;
    Ok(Sample { start: start.duration_since(begin), complete })
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn report(samples: &[Sample], writes: Option<usize>) {
    println!(
        "{} jobs on a warm worker, in milliseconds{:>17} {:>8} {:>8}",
        samples.len(),
        "median",
        "least",
        "most"
    );
    line("apply to start of the worker", samples.iter().map(|sample| sample.start));
    line("apply to Completed", samples.iter().map(|sample| sample.complete));
    if let Some(writes) = writes {
        println!("{:<44} {:>10.2}", "API writes a job", writes as f64 / samples.len() as f64);
    }
    for (process, kilobytes) in operators() {
        println!("{:<44} {:>10.1}", format!("MiB of operator, process {process}"), kilobytes as f64 / 1024.0);
    }
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn line(title: &str, durations: impl Iterator<Item = SignedDuration>) {
    let mut sorted: Vec<_> = durations.map(|duration| duration.as_millis()).collect();
    sorted.sort_unstable();
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    println!(
        "{title:<44} {:>10} {:>8} {:>8}",
        at(sorted.len() / 2),
        at(0),
        at(sorted.len().saturating_sub(1))
    );
}

/// Process ids and resident memory, in kB, of the operator's replicas on this machine.
fn operators() -> Vec<(u32, u64)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter_map(|process: u32| Some((process, resident(process)?))).collect()
}

fn resident(process: u32) -> Option<u64> {
    let command = std::fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
    command.split('\0').next()?.ends_with("trellis-operator").then_some(())?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
