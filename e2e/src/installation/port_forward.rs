//! A port of a service in the cluster, on this machine's loopback.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A forwarded port; it is closed when this is dropped.
#[derive(Debug)]
pub struct PortForward {
    address: String,
    _kubectl: Child,
}

impl PortForward {
    /// Starts `kubectl port-forward` and waits until the port is open.
    pub(super) async fn start(
        mut kubectl: Command,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> Result<Self> {
        let mut child = kubectl
            .args([
                "--namespace",
                namespace,
                "port-forward",
                &format!("service/{service}"),
                &format!(":{port}"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run kubectl port-forward")?;
        let stdout = child.stdout.take().context("kubectl has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next_line().await?.unwrap_or_default();
        // Forwarding from 127.0.0.1:40123 -> 4443
        let Some(address) = first.split_whitespace().nth(2).filter(|address| address.contains(':')) else {
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut said).await?;
            }
            bail!("cannot reach service {namespace}/{service}: {}", said.trim());
        };
        // It says more with every connection, and would end where nobody listens.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { address: address.to_owned(), _kubectl: child })
    }

    /// The address to connect to, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
