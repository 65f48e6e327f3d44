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
use trellis_e2e::{ApiServer, paths, photo};

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
    copy(&paths::source().join(&example), &folder.join(&example))?;
    let fetched = tempfile::tempdir()?;
    let asset = fetched.path().join("asset.glb");

    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &commands]).current_dir(&folder).env("PATH", path()?);
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

/// With the project's own Node.js before that of the machine, which may be none.
fn path() -> Result<String> {
    let output = Command::new(paths::source().join("scripts/node.sh")).output()?;
    ensure!(output.status.success(), "scripts/node.sh: {}", String::from_utf8_lossy(&output.stderr));
    let path = std::env::var("PATH").unwrap_or_default();
    Ok(format!("{}:{path}", String::from_utf8(output.stdout)?.trim()))
}

/// Holds `folder` until it is dropped: another checkout may be testing, too.
fn alone(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Copies a folder's files over those of another, which keeps what else it has.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(())
}
