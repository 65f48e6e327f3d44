//! An artifact as Flux's source-controller would offer it: a tarball over HTTP.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A tarball that is served until this is dropped.
pub(crate) struct Artifact {
    url: String,
    digest: String,
    size: usize,
    _server: JoinSet<()>,
}

impl Artifact {
    /// Serves a folder for each of `manifests`.
    pub(crate) async fn serve(manifests: &[(&str, Value)]) -> Result<Self> {
        let tarball = pack(manifests)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/jobs.tar.gz", listener.local_addr()?);
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&tarball)));
        let size = tarball.len();
        let mut server = JoinSet::new();
        server.spawn(answer_all(listener, tarball));
        Ok(Self { url, digest, size, _server: server })
    }

    /// What stands in the status of its source.
    pub(crate) fn status(&self) -> Value {
        json!({
            "url": self.url, "digest": self.digest, "size": self.size, "path": "jobs.tar.gz",
            "revision": "main@sha1:0123456789abcdef0123456789abcdef01234567", "lastUpdateTime": "2026-01-01T00:00:00Z",
        })
    }
}

fn pack(manifests: &[(&str, Value)]) -> Result<Vec<u8>> {
    let root = tempfile::tempdir()?;
    for (name, manifest) in manifests {
        let folder = root.path().join(name);
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("manifest.yaml"), serde_yaml::to_string(manifest)?)?;
    }
    let output = Command::new("tar")
        .args(["-cz", "-C"])
        .arg(root.path())
        .arg(".")
        .output()
        .context("cannot run tar")?;
    if !output.status.success() {
        bail!("tar failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Answers every request, whatever it asks for, with `content`.
async fn answer_all(listener: TcpListener, content: Vec<u8>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            content.len()
        );
        // One read is enough for a request without a body. A client that goes away asks again.
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&content).await;
        let _ = stream.shutdown().await;
    }
}
