//! The operator.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Process, answers, free_port, program};
use crate::{ApiServer, Namespace};

/// How a replica of the operator runs.
#[derive(Debug, Clone, Copy)]
pub struct OperatorSettings<'a> {
    /// Its name.
    pub replica: &'a str,
    /// What it logs.
    pub log_level: &'a str,
}

impl Default for OperatorSettings<'_> {
    fn default() -> Self {
        Self { replica: "operator-1", log_level: "warn" }
    }
}

/// A replica of the operator.
#[derive(Debug)]
pub struct Operator {
    /// Its process.
    pub process: Process,
}

impl Operator {
    /// Starts a replica that looks at `namespace`, and waits until it has listed everything. Its log is in `folder`.
    ///
    /// # Errors
    /// When it does not get ready; the message has its log.
    pub async fn start(
        server: &ApiServer,
        namespace: &Namespace,
        settings: &OperatorSettings<'_>,
        folder: &Path,
    ) -> Result<Self> {
        let OperatorSettings { replica, log_level } = *settings;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program("trellis-operator")?);
        command
            .env("KUBECONFIG", server.kubeconfig())
            .env("OPERATOR_NAMESPACE", namespace.name())
            .env("WATCH_NAMESPACE", namespace.name())
            .env("POD_NAME", replica)
            .env("OUTPUT_URI", "gs://assets/out")
            .env("LISTEN", &address)
            .env("LOG_LEVEL", log_level);
        let process = Process::start(&command, &folder.join(format!("{}-{replica}.log", namespace.name())))?;
        let ready = answers(&format!("http://{address}/readyz")).await;
        ready.with_context(|| process.log().unwrap_or_default())?;
        Ok(Self { process })
    }
}
