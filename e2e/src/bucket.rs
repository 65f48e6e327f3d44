//! A bucket without Google.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::processes::{Process, free_port};
use crate::tools;

/// A running fake-gcs-server with one bucket, gone when dropped. It signs no addresses.
#[derive(Debug)]
pub struct EmulatedBucket {
    _process: Process,
    _log: TempDir,
    host: String,
}

impl EmulatedBucket {
    /// Its address, without a slash at the end.
    pub const URI: &str = "gs://trellis-tests";

    /// Starts it, and waits until the bucket is there.
    ///
    /// # Errors
    /// When it cannot be built, or does not answer.
    pub async fn start() -> Result<Self> {
        let program = tokio::task::spawn_blocking(|| tools::path("fake-gcs-server")).await??;
        let port = free_port()?;
        let host = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command
            .args(["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-log-level", "error"])
            .args(["-port", &port.to_string(), "-external-url", &format!("http://{host}")])
            // The XML API, which lists and deletes, is served under this name alone.
            .args(["-public-host", &host]);
        let log = tempfile::tempdir()?;
        let process = Process::start(&command, &log.path().join("log"))?;
        let bucket = Self { _process: process, _log: log, host };
        bucket.create().await?;
        Ok(bucket)
    }

    /// Where it listens, as `host:port`: the value of `STORAGE_EMULATOR_HOST`.
    pub fn host(&self) -> &str {
        &self.host
    }

    async fn create(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let url = format!("http://{}/storage/v1/b?project=tests", self.host);
        let name = Self::URI.trim_start_matches("gs://");
        let client = reqwest::Client::new();
        loop {
            match client.post(&url).json(&serde_json::json!({ "name": name })).send().await {
                Ok(response) => return Ok(response.error_for_status().map(drop)?),
                Err(error) if Instant::now() > deadline => bail!("fake-gcs-server does not answer: {error}"),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}
