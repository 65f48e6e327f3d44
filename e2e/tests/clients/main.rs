//! What programs of others make of the service's OpenAPI document: generated clients, which run a job each, and schemathesis, which tries everything.

mod commands;
mod schemathesis;

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use trellis_e2e::processes::{Service, ServiceSettings};
use trellis_e2e::{ApiServer, node, paths, photo, pipe};

use commands::commands;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typescript_client_runs_a_job_by_the_commands_of_the_documentation() -> Result<()> {
    runs_a_job("TypeScript").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_runs_a_job_by_the_commands_of_the_documentation() -> Result<()> {
    runs_a_job("Python").await
}

/// Runs the commands below the heading `language` of `docs/clients.md`, in a copy of the examples that is kept with what they install.
async fn runs_a_job(language: &str) -> Result<()> {
    let server = ApiServer::shared().await?;
    let service = Service::start(server, "client", &ServiceSettings::default()).await?;
    let commands = commands(&std::fs::read_to_string(paths::source().join("docs/clients.md"))?, language)?;
    let folder = paths::cache().join("clients").join(language);
    let _alone = alone(&folder)?;
    let example = Path::new("examples/clients").join(language.to_lowercase());
    let copy = folder.join(&example);
    std::fs::create_dir_all(&copy)?;
    // Over what is there: what the commands installed stays.
    pipe(Command::new("cp").arg("-RT").arg(paths::source().join(&example)).arg(&copy), "")?;
    let fetched = tempfile::tempdir()?;
    let asset = fetched.path().join("asset.glb");

    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &commands]).current_dir(&folder).env("PATH", node::path()?);
    shell.env("API", service.rest.url()).env("KEY", service.rest.key("alice"));
    shell.env("PHOTO", photo::photo_file()).env("ASSET", &asset);
    let output = tokio::task::spawn_blocking(move || shell.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{commands}\n{said}");

    let sha256 = hex::encode(Sha256::digest(std::fs::read(&asset)?));
    ensure!(made(&service).await? == sha256, "{asset:?} is not what the job made: {said}");
    service.namespace.delete().await
}

/// The SHA-256 of the asset of the only job there is.
async fn made(service: &Service) -> Result<String> {
    let get = async |path: &str| -> Result<Value> {
        let request = reqwest::Client::new().get(format!("{}{path}", service.rest.url()));
        Ok(request.bearer_auth(service.rest.key("alice")).send().await?.json().await?)
    };
    let jobs = get("/api/v1/jobs").await?;
    let id = jobs["jobs"][0]["id"].as_str().with_context(|| format!("no job in {jobs}"))?;
    let job = get(&format!("/api/v1/jobs/{id}")).await?;
    let sha256 = job["outputs"][0]["sha256"].as_str();
    sha256.map(str::to_owned).with_context(|| format!("no output in {job}"))
}

/// Holds `folder` until it is dropped: another checkout may be testing, too.
fn alone(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}
