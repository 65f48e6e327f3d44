//! The public keys of an issuer (JWK, RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::TokenError;

/// How a token may be signed. By secrets that both sides share (HS256) never: a public key would do as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Signature {
    /// RSA with PKCS #1 v1.5 padding, and SHA-256.
    RS256,
    /// ECDSA on the curve P-256, and SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl From<Signature> for Algorithm {
    fn from(signature: Signature) -> Self {
        match signature {
            Signature::RS256 => Self::RS256,
            Signature::ES256 => Self::ES256,
            Signature::EdDSA => Self::EdDSA,
        }
    }
}

/// An issuer's keys.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A set of keys as it is published: `{"keys": […]}`.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    pub(super) keys: Vec<Value>,
}

impl Published {
    pub(super) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

impl Keys {
    /// Those of `published` that tokens may be signed with here. Others are for other purposes, and left out without a word, as the standard asks.
    pub(crate) fn new(published: &[Value]) -> Self {
        Self(published.iter().filter_map(Key::read).collect())
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key for a token that names `id` and says that it is signed by `algorithm`. A token that names none is taken where one key alone can be
    /// meant.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, TokenError> {
        let named = || self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        let mut fitting = named().filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.key),
            (None, _) if id.is_some() && named().next().is_some() => Err(TokenError::Algorithm),
            _ => Err(TokenError::Key),
        }
    }
}

impl Key {
    fn read(published: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(published.clone()).ok()?;
        let algorithm = algorithm(&jwk)?;
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(&jwk).ok()? })
    }
}

/// What a key is for, by its type; none where it says itself that it is for something else.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let says = |other: bool| !other;
    let fits = says(common.key_algorithm.is_some_and(|said| said != name))
        && says(common.public_key_use.as_ref().is_some_and(|said| *said != PublicKeyUse::Signature))
        && says(common.key_operations.as_ref().is_some_and(|said| !said.contains(&KeyOperations::Verify)));
    fits.then_some(algorithm)
}
