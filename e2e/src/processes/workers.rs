//! Simulated workers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Process, program};
use crate::{ApiServer, Namespace};

/// How simulated workers work.
#[derive(Debug, Clone)]
pub struct SimulatedWorkers {
    /// How long an attempt takes.
    pub takes: Duration,
    /// Where files go: stored where it is a `file://` address, else only said to be there.
    pub output_uri: String,
    /// How large an asset is, where it is stored.
    pub bytes: usize,
    /// What they log.
    pub log_level: String,
}

impl SimulatedWorkers {
    /// Workers that store nothing.
    pub fn taking(takes: Duration) -> Self {
        Self { takes, output_uri: "gs://assets/out".into(), bytes: 0, log_level: "warn".into() }
    }
}

/// Starts a simulated worker for each worker pod of `namespace`, all in one process. Its log is in `folder`.
///
/// # Errors
/// When the process cannot be started.
pub fn simulated_workers(
    server: &ApiServer,
    namespace: &Namespace,
    workers: &SimulatedWorkers,
    folder: &Path,
) -> Result<Process> {
    let mut command = Command::new(program("sim_workers")?);
    command.env("KUBECONFIG", server.kubeconfig());
    command
        .args(["--namespace", namespace.name(), "--takes", &workers.takes.as_millis().to_string()])
        .args(["--output-uri", &workers.output_uri, "--bytes", &workers.bytes.to_string()])
        .args(["--log-level", &workers.log_level]);
    Process::start(&command, &folder.join(format!("{}-workers.log", namespace.name())))
}
