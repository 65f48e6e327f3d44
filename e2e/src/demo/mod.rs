//! A photo becomes a GLB: `make demo`.

mod progress;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt as _};
use tokio::time::timeout;
use trellis_crds::{GenerationJob, Phase};

use crate::command::run;
use crate::installation::{Installation, User};
use crate::steps::{say, step};
use crate::{cluster, paths};

/// The example's job.
const JOB: &str = "photo";
/// How long the job may take, from nothing: a worker has to start first.
const LIMIT: Duration = Duration::from_secs(300);

/// Installs what is missing, runs the example and fetches its files; `install_only` leaves it at the first.
///
/// # Errors
/// Fails at the first step that does, with its cause and the remedy.
pub async fn run_demo(install_only: bool) -> Result<()> {
    let start = Instant::now();
    let installation = Installation::install().await?;
    if install_only {
        return Ok(());
    }
    let job = step("From the photo to the asset", generate(&installation)).await?;
    let files = step("Fetching the files", fetch(&installation, &job)).await?;
    report(&job, &files, start.elapsed());
    Ok(())
}

/// Applies the example and follows its job to the end.
async fn generate(installation: &Installation) -> Result<GenerationJob> {
    let example = paths::source().join("examples/photo");
    tokio::task::block_in_place(|| {
        // The name is fixed, for the example is what git would hold; a job that ran already has to make room.
        let delete = ["delete", "--ignore-not-found", "--namespace=default", "generationjob", JOB];
        run(installation.kubectl()?.args(delete))?;
        run(installation.kubectl()?.args(["apply", "--namespace=default", "--kustomize"]).arg(example))
    })?;
    let jobs: Api<GenerationJob> = Api::namespaced(cluster::client().await?, "default");
    timeout(LIMIT, follow(jobs)).await.with_context(|| {
        format!("the job {JOB} did not end within {} s; see: kubectl describe gj {JOB}", LIMIT.as_secs())
    })?
}

async fn follow(jobs: Api<GenerationJob>) -> Result<GenerationJob> {
    let mut seen = std::pin::pin!(watch_object(jobs, JOB));
    while let Some(job) = seen.next().await {
        // The watch goes on by itself after an error; the time limit ends it.
        let Ok(Some(job)) = job else { continue };
        say(progress::describe(&job));
        match job.phase() {
            Phase::Completed => return Ok(job),
            Phase::Failed | Phase::Cancelled => bail!("the job {JOB} ended: {}", progress::describe(&job)),
            Phase::Pending | Phase::Processing => {}
        }
    }
    bail!("the watch of the job {JOB} ended")
}

/// Copies the job's outputs into `out/`.
async fn fetch(installation: &Installation, job: &GenerationJob) -> Result<Vec<PathBuf>> {
    let (storage, _port) = installation.storage().await?;
    let folder = paths::source().join("out");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut files = Vec::new();
    let outputs = job.status.iter().flat_map(|status| &status.outputs);
    for output in outputs.filter(|output| ["glb", "png"].contains(&output.format.as_str())) {
        let content = storage.get(&output.uri.parse()?, u64::MAX).await?;
        let file = folder.join(format!("{JOB}.{}", output.format));
        std::fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}

#[expect(clippy::print_stdout, reason = "the demo's result")]
fn report(job: &GenerationJob, files: &[PathBuf], took: Duration) {
    println!(
        "\nMade by the job {} in {:.0} s, from the first step to the last:",
        job.name_any(),
        took.as_secs_f64()
    );
    for file in files {
        println!("  {}", file.strip_prefix(paths::source()).unwrap_or(file).display());
    }
    println!("\nWhat the worker did:");
    for timing in job.status.iter().flat_map(|status| &status.timings) {
        println!("  {:<28} {:>6} ms", timing.stage, timing.milliseconds);
    }
    println!("\nGo on with:");
    if !cluster::is_foreign() {
        println!("  export KUBECONFIG={}", cluster::Cluster::new().kubeconfig().display());
    }
    println!("  kubectl get gj -w");
    println!("  kubectl port-forward -n trellis-system service/trellis-api 8080:80 &");
    println!(
        "  curl -H \"Authorization: Bearer $(cat {})\" -F image=@examples/photo/photo.png \\\n       http://localhost:8080/api/v1/generate/image-to-3d",
        User::Demo.key_file().display()
    );
    println!("  make down");
}
