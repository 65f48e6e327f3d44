//! The process of Flux's kustomize-controller.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use trellis_e2e::{ApiServer, tools};

/// Flux's kustomize-controller for one namespace. It ends with this value, or with the thread that started it.
pub(crate) struct Controller {
    process: Child,
    folder: TempDir,
}

impl Controller {
    pub(crate) async fn start(server: &ApiServer, namespace: &str) -> Result<Self> {
        let program = tokio::task::spawn_blocking(|| tools::path("kustomize-controller")).await??;
        let folder = tempfile::tempdir()?;
        let log = File::create(log_file(&folder))?;
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["--metrics-addr=0", "--health-addr=0", "--watch-all-namespaces=false"])
            .env("RUNTIME_NAMESPACE", namespace)
            .env("KUBECONFIG", server.kubeconfig())
            // It removes what earlier ones left in this folder.
            .env("TMPDIR", folder.path())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn()
            .context("cannot run setpriv; install util-linux")?;
        Ok(Self { process, folder })
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log_file(&self.folder)).unwrap_or_default()
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.end();
    }
}

fn log_file(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}
