//! The keys file.
//!
//! The server knows only SHA-256 sums of keys. Keys are 256 random bits, so a slow password hash would add nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use super::Caller;

/// How soon a changed keys file counts. The kubelet itself takes up to a minute to bring a changed Secret.
const RELOAD: Duration = Duration::from_secs(5);

/// One entry of the keys file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Names the key for the people who administer it.
    pub id: String,
    /// The user the key belongs to; a user may have several. A valid label value.
    pub user: String,
    /// The namespace in which the user's jobs are created.
    pub namespace: String,
    /// SHA-256 of the key, 64 lower-case hex digits.
    pub sha256: String,
}

/// The contents of the keys file.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Every key that is accepted.
    pub keys: Vec<Key>,
}

/// Why a keys file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("cannot read the API keys file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not `keys: [{id, user, namespace, sha256}]`.
    #[error("the API keys file {path} is not `keys: [{{id, user, namespace, sha256}}]`: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_yaml::Error,
    },
    /// An entry is wrong.
    #[error("the API keys file {path}: entry {entry} (id {id:?}): {reason}")]
    Entry {
        /// The file.
        path: PathBuf,
        /// Counted from 0.
        entry: usize,
        /// The entry's id.
        id: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Keys {
    /// Reads and checks the file at `path`.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| KeysError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, KeysError> {
        let keys: Self = serde_yaml::from_str(text)
            .map_err(|source| KeysError::Parse { path: path.to_owned(), source })?;
        for (entry, key) in keys.keys.iter().enumerate() {
            let earlier = &keys.keys[..entry];
            if let Some(reason) = key.fault(earlier) {
                return Err(KeysError::Entry { path: path.to_owned(), entry, id: key.id.clone(), reason });
            }
        }
        Ok(keys)
    }

    /// The owner of `key`. Takes the same time whichever entry fits, and for a wrong key.
    #[must_use]
    pub(crate) fn caller(&self, key: &str) -> Option<Caller> {
        let presented = sha256_hex(key);
        let mut owner = None;
        for entry in &self.keys {
            if bool::from(entry.sha256.as_bytes().ct_eq(presented.as_bytes())) {
                owner = Some(entry);
            }
        }
        owner.map(|entry| Caller { user: entry.user.clone(), namespace: entry.namespace.clone() })
    }
}

impl Key {
    /// A new random key, and the entry that lets it in.
    pub fn generate(
        id: String,
        user: String,
        namespace: String,
    ) -> Result<(String, Self), rand::rand_core::OsError> {
        let mut secret = [0_u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut secret)?;
        // The prefix lets secret scanners recognise a key that was committed somewhere.
        let key = format!("trellis_{}", URL_SAFE_NO_PAD.encode(secret));
        let entry = Self { id, user, namespace, sha256: sha256_hex(&key) };
        Ok((key, entry))
    }

    fn fault(&self, earlier: &[Self]) -> Option<&'static str> {
        let hex = |text: &str| {
            text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if self.id.is_empty() {
            Some("id is empty")
        } else if earlier.iter().any(|other| other.id == self.id) {
            Some("another entry has the same id")
        } else if earlier.iter().any(|other| other.sha256 == self.sha256) {
            Some("another entry has the same sha256; each key belongs to one user")
        } else if !is_label_value(&self.user) {
            Some(
                "user must be a label value: 1 to 63 letters, digits, `-`, `_` or `.`, beginning and ending with a letter or digit",
            )
        } else if !is_dns_label(&self.namespace) {
            Some("namespace must be a namespace's name: 1 to 63 lower-case letters, digits or `-`")
        } else if !hex(&self.sha256) {
            Some("sha256 must be 64 lower-case hex digits; `trellis-api hash-key` prints a whole entry")
        } else {
            None
        }
    }
}

fn sha256_hex(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_dns_label(text: &str) -> bool {
    is_label_value(text) && text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '-')
}

/// Reads the keys at `path` and keeps reading them. A file that went bad changes nothing: the keys before it stay valid.
///
/// Contents are compared, not times: the kubelet swaps a symlink, and the new file may be older than the last look.
/// The future ends never; drop it to stop.
pub(crate) fn watch(
    path: PathBuf,
) -> Result<(watch::Receiver<Arc<Keys>>, impl Future<Output = ()> + Send), KeysError> {
    let (sender, receiver) = watch::channel(Arc::new(Keys::read(&path)?));
    let reload = async move {
        let mut complaint = String::new();
        loop {
            tokio::time::sleep(RELOAD).await;
            reload_once(&path, &sender, &mut complaint);
        }
    };
    Ok((receiver, reload))
}

fn reload_once(path: &Path, sender: &watch::Sender<Arc<Keys>>, complaint: &mut String) {
    match Keys::read(path) {
        Ok(keys) => {
            complaint.clear();
            let changed = sender.send_if_modified(|current| {
                let differs = **current != keys;
                if differs {
                    *current = Arc::new(keys);
                }
                differs
            });
            if changed {
                tracing::info!(keys = sender.borrow().keys.len(), "API keys changed");
            }
        }
        Err(error) => {
            let text = error.to_string();
            if *complaint != text {
                tracing::error!(error = text, "keeping the API keys as they were");
                *complaint = text;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> (String, Keys) {
        let (key, entry) = Key::generate("a1".into(), "alice".into(), "team".into()).unwrap();
        (key, Keys { keys: vec![entry] })
    }

    #[test]
    fn a_generated_key_lets_its_owner_in_and_no_other() {
        let (key, keys) = alice();
        let owner = Caller { user: "alice".into(), namespace: "team".into() };
        assert_eq!(keys.caller(&key), Some(owner));
        let (other, _) = alice();
        for wrong in ["", &other, &keys.keys[0].sha256, &key[..key.len() - 1]] {
            assert_eq!(keys.caller(wrong), None);
        }
    }

    #[test]
    fn a_bad_entry_is_named_with_its_fault() {
        let (_, good) = alice();
        let parse = |keys: &Keys| Keys::parse(&serde_yaml::to_string(keys).unwrap(), Path::new("keys.yaml"));
        assert_eq!(parse(&good).unwrap(), good);

        let key = good.keys[0].clone();
        for (reason, bad) in [
            ("user must be", Key { user: "alice smith".into(), ..key.clone() }),
            ("namespace must be", Key { namespace: "Team".into(), ..key.clone() }),
            ("sha256 must be", Key { sha256: key.sha256.to_ascii_uppercase(), ..key.clone() }),
            ("id is empty", Key { id: String::new(), ..key }),
        ] {
            let error = parse(&Keys { keys: vec![bad] }).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let twice = Keys { keys: [good.keys.clone(), good.keys].concat() };
        assert!(parse(&twice).unwrap_err().to_string().contains("entry 1 (id \"a1\")"));
        let copied = Key { id: "b1".into(), user: "bob".into(), ..twice.keys[0].clone() };
        let shared = parse(&Keys { keys: vec![twice.keys[0].clone(), copied] });
        assert!(shared.unwrap_err().to_string().contains("the same sha256"));
        let unknown = Keys::parse("keys: []\nallow_anonymous: true", Path::new("keys.yaml"));
        assert!(unknown.unwrap_err().to_string().contains("allow_anonymous"));
    }

    #[test]
    fn a_changed_file_counts_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.yaml");
        let (key, keys) = alice();
        let (sender, receiver) = watch::channel(Arc::new(Keys::default()));
        let mut complaint = String::new();

        std::fs::write(&path, serde_yaml::to_string(&keys).unwrap()).unwrap();
        reload_once(&path, &sender, &mut complaint);
        assert!(receiver.borrow().caller(&key).is_some());

        std::fs::write(&path, "keys: 7").unwrap();
        reload_once(&path, &sender, &mut complaint);
        assert!(receiver.borrow().caller(&key).is_some());
        assert!(complaint.contains("keys.yaml"));

        std::fs::write(&path, "keys: []").unwrap();
        reload_once(&path, &sender, &mut complaint);
        assert!(receiver.borrow().caller(&key).is_none(), "a withdrawn key must not work");
    }
}
