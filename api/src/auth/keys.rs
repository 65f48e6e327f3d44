//! The keys file.
//!
//! The server knows only SHA-256 sums of keys. Keys are 256 random bits, so a slow password hash would add nothing.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::jiff::Timestamp;
use rand::TryRngCore as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::scopes::Scopes;
use super::{Caller, Unauthenticated};

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
    /// What the key allows.
    #[serde(default, skip_serializing_if = "Scopes::is_default")]
    pub scopes: Scopes,
    /// When the key ceases to be valid. Never where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
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
    /// The file is not `keys: [{id, user, namespace, sha256, scopes, expires}]`.
    #[error(
        "the API keys file {path} is not `keys: [{{id, user, namespace, sha256, scopes, expires}}]`: {source}"
    )]
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

    /// The owner of `key` at `now`. Takes the same time whichever entry fits, and for a wrong key.
    pub(crate) fn caller(&self, key: &str, now: Timestamp) -> Result<Caller, Unauthenticated> {
        let presented = sha256_hex(key);
        let mut owner = None;
        for entry in &self.keys {
            if bool::from(entry.sha256.as_bytes().ct_eq(presented.as_bytes())) {
                owner = Some(entry);
            }
        }
        let entry = owner.ok_or(Unauthenticated::WrongKey)?;
        if entry.expires.is_some_and(|end| end <= now) {
            return Err(Unauthenticated::ExpiredKey);
        }
        Ok(Caller {
            user: entry.user.clone(),
            namespace: entry.namespace.clone(),
            key: format!("key:{}", entry.id),
            scopes: entry.scopes.clone(),
        })
    }
}

impl Key {
    /// A new random key, and the entry that lets it in: to read and to write, for ever.
    pub fn generate(
        id: String,
        user: String,
        namespace: String,
    ) -> Result<(String, Self), rand::rand_core::OsError> {
        let mut secret = [0_u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut secret)?;
        // The prefix lets secret scanners recognise a key that was committed somewhere.
        let key = format!("trellis_{}", URL_SAFE_NO_PAD.encode(secret));
        let sha256 = sha256_hex(&key);
        let entry = Self { id, user, namespace, sha256, scopes: Scopes::default(), expires: None };
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
        } else if self.scopes.is_empty() {
            Some("scopes is empty; leave it out for read and write")
        } else {
            None
        }
    }
}

fn sha256_hex(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Whether `text` may stand in a label, where jobs carry their user.
pub(super) fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether `text` may be the name of a namespace.
pub(super) fn is_dns_label(text: &str) -> bool {
    is_label_value(text) && text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::super::scopes::Scope;
    use super::*;

    fn alice() -> (String, Keys) {
        let (key, entry) = Key::generate("a1".into(), "alice".into(), "team".into()).unwrap();
        (key, Keys { keys: vec![entry] })
    }

    #[test]
    fn a_generated_key_lets_its_owner_in_and_no_other() {
        let (key, keys) = alice();
        let owner = keys.caller(&key, Timestamp::now()).unwrap();
        assert_eq!((&*owner.user, &*owner.namespace, &*owner.key), ("alice", "team", "key:a1"));
        assert!(owner.scopes.is_default());
        let (other, _) = alice();
        for wrong in ["", &other, &keys.keys[0].sha256, &key[..key.len() - 1]] {
            assert_eq!(keys.caller(wrong, Timestamp::now()), Err(Unauthenticated::WrongKey));
        }
    }

    #[test]
    fn a_key_is_valid_until_it_expires() {
        let (key, mut keys) = alice();
        let end: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        keys.keys[0].expires = Some(end);
        let at = |seconds| {
            keys.caller(&key, end + k8s_openapi::jiff::SignedDuration::from_secs(seconds)).map(|_| ())
        };
        assert_eq!(at(-1), Ok(()));
        for late in [0, 1] {
            assert_eq!(at(late), Err(Unauthenticated::ExpiredKey));
        }
    }

    #[test]
    fn scopes_and_expiry_are_read_as_they_are_written() {
        let (_, mut keys) = alice();
        let text = serde_yaml::to_string(&keys).unwrap();
        assert!(!text.contains("scopes") && !text.contains("expires"), "{text}");
        keys.keys[0].scopes = [Scope::Read, Scope::Admin].into_iter().collect();
        keys.keys[0].expires = Some("2026-12-01T12:00:00+01:00".parse().unwrap());
        let text = serde_yaml::to_string(&keys).unwrap();
        assert!(text.contains("expires: 2026-12-01T11:00:00Z") && text.contains("- admin"), "{text}");
        assert_eq!(Keys::parse(&text, Path::new("keys.yaml")).unwrap(), keys);
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
            ("scopes is empty", Key { scopes: [].into_iter().collect(), ..key.clone() }),
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
}
