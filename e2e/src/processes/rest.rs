//! The REST API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{Process, answers, free_port, program};
use crate::ApiServer;

/// The name by which Kubernetes knows the REST API, which tells its requests in the audit log.
pub const REST_USER: &str = "trellis-rest";

/// How the REST API runs.
#[derive(Debug, Clone)]
pub struct RestSettings {
    /// The keys that it accepts.
    pub keys: Vec<KeyEntry>,
    /// The namespace whose pools serve everyone.
    pub pool_namespace: String,
    /// Its settings file.
    pub config: Value,
    /// What the secrets are made of that webhooks are signed with.
    pub webhook_secret: String,
    /// What it logs.
    pub log_level: String,
}

impl RestSettings {
    /// With a key for each of `users`, which has the user's name; all are of one namespace, whose pools they use.
    pub fn of(namespace: &str, users: &[impl AsRef<str>]) -> Self {
        let keys = users.iter().map(|user| KeyEntry::of(user.as_ref(), namespace)).collect();
        Self {
            keys,
            pool_namespace: namespace.into(),
            config: json!({}),
            webhook_secret: "0123456789abcdef0123456789abcdef".into(),
            log_level: "info".into(),
        }
    }
}

/// What the keys file says of a key. The key itself is made at random.
#[derive(Debug, Clone, Serialize)]
pub struct KeyEntry {
    /// The key's name.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// Where the user's jobs are.
    pub namespace: String,
    /// Whatever else is said: `scopes`, `expires`.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

impl KeyEntry {
    /// A key that has the user's name and reads and writes.
    pub fn of(user: &str, namespace: &str) -> Self {
        Self { id: user.into(), user: user.into(), namespace: namespace.into(), more: BTreeMap::new() }
    }

    /// The same, of another name, with something else said of it.
    #[must_use]
    pub fn with(mut self, id: &str, field: &str, value: Value) -> Self {
        self.id = id.into();
        self.more.insert(field.into(), value);
        self
    }
}

/// A running REST API, whose storage is a folder. Both are gone when it is dropped.
#[derive(Debug)]
pub struct Rest {
    /// Its process.
    pub process: Process,
    address: SocketAddr,
    keys: BTreeMap<String, String>,
    folder: TempDir,
}

impl Rest {
    /// Starts it, and waits until it has listed everything.
    ///
    /// # Errors
    /// When it does not get ready; the message has its log.
    pub async fn start(server: &ApiServer, settings: &RestSettings) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("trellis-rest-").tempdir()?;
        let keys = write_keys(&folder.path().join("keys.yaml"), &settings.keys)?;
        std::fs::write(folder.path().join("config.yaml"), settings.config.to_string())?;
        std::fs::write(folder.path().join("webhook-secret"), &settings.webhook_secret)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = Command::new(program("trellis-api")?);
        command
            .env("KUBECONFIG", server.rest_kubeconfig())
            .env("API_KEYS_FILE", folder.path().join("keys.yaml"))
            .env("CONFIG_FILE", folder.path().join("config.yaml"))
            .env("INPUT_URI", uri(folder.path(), "inputs"))
            .env("OUTPUT_URI", uri(folder.path(), "outputs"))
            .env("POOL_NAMESPACE", &settings.pool_namespace)
            // Other services' jobs may be on the same API server, and this one would answer for their webhooks.
            .env("JOB_NAMESPACES", &settings.pool_namespace)
            .env("WEBHOOK_SECRET_FILE", folder.path().join("webhook-secret"))
            .env("LISTEN", address.to_string())
            .env("METRICS_LISTEN", "127.0.0.1:0")
            .env("LOG_LEVEL", &settings.log_level);
        let process = Process::start(&command, &folder.path().join("log"))?;
        let ready = answers(&format!("http://{address}/readyz")).await;
        ready.with_context(|| process.log().unwrap_or_default())?;
        Ok(Self { process, address, keys, folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its root, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The API key of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn key(&self, id: &str) -> &str {
        self.keys.get(id).expect("a key of the settings")
    }

    /// All API keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.values().map(String::as_str)
    }

    /// Where workers are to put what they make.
    pub fn output_uri(&self) -> String {
        uri(self.folder.path(), "outputs")
    }

    /// The folder with its storage and its log. Others may put files there, too.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn uri(folder: &Path, name: &str) -> String {
    format!("file://{}", folder.join(name).display())
}

/// Writes a keys file with a new key for each entry, and returns the keys by their names.
fn write_keys(path: &Path, entries: &[KeyEntry]) -> Result<BTreeMap<String, String>> {
    let mut keys = BTreeMap::new();
    let mut file = Vec::new();
    for entry in entries {
        let key = format!("trellis_{}", random()?);
        let mut entry = entry.clone();
        entry.more.insert("sha256".into(), hex::encode(Sha256::digest(&key)).into());
        keys.insert(entry.id.clone(), key);
        file.push(entry);
    }
    std::fs::write(path, serde_yaml::to_string(&json!({ "keys": file }))?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(keys)
}

fn random() -> Result<String> {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(hex::encode(bytes))
}
