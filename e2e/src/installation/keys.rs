//! The API keys of the installation: made once, kept in the cache, known to the cluster by their hashes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::paths;

/// A user of the REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Whoever looks at the demo.
    Demo,
    /// Somebody else, from whom the demo's jobs are hidden.
    Other,
}

/// One API key for each user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Keys {
    demo: String,
    other: String,
}

impl Keys {
    /// The key of a user.
    pub fn of(&self, user: User) -> &str {
        match user {
            User::Demo => &self.demo,
            User::Other => &self.other,
        }
    }

    /// The file that keeps them.
    pub fn path() -> PathBuf {
        paths::cache().join("api-keys.json")
    }

    pub(super) fn read() -> Result<Self> {
        let path = Self::path();
        let text = fs::read_to_string(&path).with_context(|| {
            format!("cannot read the API keys in {}; install first: make demo", path.display())
        })?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; delete it, then: make demo", path.display()))
    }

    pub(super) fn provide() -> Result<Self> {
        if Self::path().exists() {
            return Self::read();
        }
        let keys = Self { demo: random()?, other: random()? };
        fs::create_dir_all(paths::cache())?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(Self::path())?;
        serde_json::to_writer(file, &keys)?;
        Ok(keys)
    }

    /// Chart values that make the API know the keys.
    pub(super) fn values_file(&self) -> Result<NamedTempFile> {
        let entry = |user: &str, key: &str| {
            let sha256 = hex::encode(Sha256::digest(key));
            serde_json::json!({ "id": user, "user": user, "namespace": "default", "sha256": sha256 })
        };
        let keys = [entry("demo", &self.demo), entry("other", &self.other)];
        let mut file = NamedTempFile::new()?;
        serde_json::to_writer(&mut file, &serde_json::json!({ "api": { "keys": keys } }))?;
        file.flush()?;
        Ok(file)
    }
}

fn random() -> Result<String> {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(hex::encode(bytes))
}
