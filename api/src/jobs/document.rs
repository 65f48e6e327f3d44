//! What a client is shown, and which version of it.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// What is shown, in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// Names this content: the same at every replica, and another as soon as anything in it changes.
    pub version: String,
    /// The content.
    pub json: String,
}

impl Document {
    /// Shows `content`.
    pub(crate) fn of(content: &impl Serialize) -> Self {
        let json = serde_json::to_string(content).expect("what is shown has string keys only");
        // As much of it as nobody meets twice.
        let version = hex::encode(&Sha256::digest(&json)[..12]);
        Self { version, json }
    }

    /// The value of `ETag`: a weak one, because the answer may be compressed on its way.
    pub(crate) fn tag(&self) -> String {
        format!("W/\"{}\"", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_a_content() {
        let [a, same, b] = ["a", "a", "b"].map(|content| Document::of(&content));
        assert_eq!(a, same);
        assert_ne!(a.version, b.version);
        assert_eq!(a.tag(), format!("W/\"{}\"", a.version));
    }
}
