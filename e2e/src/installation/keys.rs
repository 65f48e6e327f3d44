//! The API keys of the installation: made once, kept in the cache, known to the cluster by their hashes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
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

impl User {
    const ALL: [User; 2] = [User::Demo, User::Other];

    fn name(self) -> &'static str {
        match self {
            User::Demo => "demo",
            User::Other => "other",
        }
    }

    /// The file that keeps the user's key.
    pub fn key_file(self) -> PathBuf {
        paths::cache().join("api-keys").join(self.name())
    }
}

/// One API key for each user.
#[derive(Debug, Clone)]
pub struct Keys([String; User::ALL.len()]);

impl Keys {
    /// The key of a user.
    pub fn of(&self, user: User) -> &str {
        &self.0[user as usize]
    }

    pub(super) fn read() -> Result<Self> {
        let read = |user: User| {
            let file = user.key_file();
            fs::read_to_string(&file).with_context(|| {
                format!("cannot read the API key {}; install first: make demo", file.display())
            })
        };
        let [demo, other] = User::ALL.map(read);
        Ok(Self([demo?, other?]))
    }

    pub(super) fn provide() -> Result<Self> {
        for file in User::ALL.map(User::key_file) {
            if !file.exists() {
                fs::create_dir_all(file.parent().unwrap_or(&file))?;
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
                file.write_all(random()?.as_bytes())?;
            }
        }
        Self::read()
    }

    /// Chart values that make the API know the keys.
    pub(super) fn values_file(&self) -> Result<NamedTempFile> {
        let keys = User::ALL.map(|user| {
            let (name, sha256) = (user.name(), hex::encode(Sha256::digest(self.of(user))));
            serde_json::json!({ "id": name, "user": name, "namespace": "default", "sha256": sha256 })
        });
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
