//! What webhooks are signed with: the installation's secret, and what each user gets of it.
//!
//! The API keeps no state, so no secret of a user is stored: it is made from the installation's by HMAC whenever it is needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The least length of the installation's secret, in characters.
const SHORTEST: usize = 32;
/// How many the file may hold: the new one and the one before.
const MOST: usize = 2;

/// Why the file with the installation's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the webhook secret file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file's content cannot be used.
    #[error("the webhook secret file {path} {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The installation's secrets as its file has them, the newest first. Without `Debug`, so that no log shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterSecrets(Vec<String>);

impl MasterSecrets {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or does not hold one or two lines of at least 32 characters.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| SecretError::Content { path: path.to_owned(), reason })
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Err(
                "is empty; write a line of at least 32 characters, such as `openssl rand -base64 32` makes",
            );
        }
        if lines.len() > MOST {
            return Err("has more than two lines; keep the new secret and the one before it");
        }
        if lines.iter().any(|line| line.len() < SHORTEST) {
            return Err("has a line of less than 32 characters; `openssl rand -base64 32` makes a good one");
        }
        Ok(Self(lines.into_iter().map(str::to_owned).collect()))
    }

    /// The secrets of `user` in `namespace`, the newest first. Jobs that did not come over REST are of the user `""`.
    pub fn of(&self, namespace: &str, user: &str) -> Vec<UserSecret> {
        let owner = format!("{namespace}/{user}");
        self.0.iter().map(|master| UserSecret(mac(master.as_bytes(), &[owner.as_bytes()]))).collect()
    }
}

/// The secret of one user, with which their messages are signed.
#[derive(Clone, PartialEq, Eq)]
pub struct UserSecret([u8; 32]);

impl UserSecret {
    /// The secret as the libraries of Standard Webhooks take it: `whsec_` and base64.
    pub fn to_text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// The signature of a message: `v1,` and base64.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        signature(&self.0, id, timestamp, body)
    }
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme>
fn signature(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    format!("v1,{}", STANDARD.encode(mac(key, &parts)))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The file with the installation's secrets, as it is now.
#[derive(Clone)]
pub(crate) struct SecretFile {
    path: PathBuf,
    /// As the file was when it could last be used.
    last: Arc<Mutex<MasterSecrets>>,
}

impl SecretFile {
    /// The file at `path`.
    pub(super) fn open(path: PathBuf) -> Result<Self, SecretError> {
        let last = Arc::new(Mutex::new(MasterSecrets::read(&path)?));
        Ok(Self { path, last })
    }

    /// The secrets; those from before where the file went bad. The file is small, and read each time, so that a change counts at once.
    pub(crate) fn current(&self) -> MasterSecrets {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match MasterSecrets::read(&self.path) {
            Ok(secrets) => *last = secrets,
            Err(error) => tracing::error!(%error, "keeping the webhook secret as it was"),
        }
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = "0123456789abcdef0123456789abcdef";

    /// The vector that the libraries of Standard Webhooks are tested with.
    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_user_has_a_secret_of_their_own() {
        let secrets = MasterSecrets::parse(MASTER).unwrap();
        let of = |namespace: &str, user: &str| secrets.of(namespace, user)[0].to_text();
        assert_eq!(of("team", "alice"), of("team", "alice"));
        let all = [of("team", "alice"), of("team", "bob"), of("other", "alice"), of("team", "")];
        for (n, secret) in all.iter().enumerate() {
            assert!(secret.starts_with("whsec_") && !all[..n].contains(secret));
        }
    }

    #[test]
    fn while_the_secret_changes_there_are_two() {
        let before = MasterSecrets::parse(MASTER).unwrap();
        let new = "f".repeat(32);
        let both = MasterSecrets::parse(&format!("{new}\n{MASTER}\n")).unwrap();
        let secrets = both.of("team", "alice");
        assert!(secrets[0] == MasterSecrets::parse(&new).unwrap().of("team", "alice")[0]);
        assert!(secrets[1] == before.of("team", "alice")[0]);
    }

    #[test]
    fn a_file_that_went_bad_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for bad in ["", "short", &[MASTER; 3].join("\n")] {
            std::fs::write(&path, bad).unwrap();
            assert!(SecretFile::open(path.clone()).is_err(), "{bad}");
        }
        std::fs::write(&path, MASTER).unwrap();
        let file = SecretFile::open(path.clone()).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(file.current() == MasterSecrets::parse(MASTER).unwrap());
        let new = "f".repeat(40);
        std::fs::write(&path, &new).unwrap();
        assert!(file.current() == MasterSecrets::parse(&new).unwrap());
    }
}
