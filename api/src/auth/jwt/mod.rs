//! Tokens (JWT, RFC 7519) of the issuers that the settings name.
//!
//! A token chooses neither its key's address nor its algorithm: the issuer that it names must be one of the settings, the key one of that issuer's,
//! and the algorithm the one that this key is for.

mod claims;
mod issuer;
mod keys;
mod remote;
#[cfg(test)]
mod tests;

use jsonwebtoken::errors::ErrorKind;
use serde_json::{Map, Value};

use self::issuer::Issuer;
use super::Caller;

pub(crate) use issuer::{IssuerError, IssuerSettings};
pub(crate) use remote::Fetcher;

/// The issuers whose tokens are taken.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Vec<Issuer>);

/// Why a token is refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// It is no JWT, or none that is understood.
    #[error("This is no API key and no token (JWT) that can be read.")]
    Malformed,
    /// Its issuer is none of ours.
    #[error("The token's issuer (`iss`) is not one of this service's.")]
    Issuer,
    /// It is signed in a way that its issuer's tokens are not.
    #[error("The token's algorithm (`alg`) is not one that its issuer's keys are for.")]
    Algorithm,
    /// Its issuer has no such key.
    #[error("The token's issuer has no key of this `kid`. It may have been replaced: get a new token.")]
    Key,
    /// Its signature is not its issuer's.
    #[error("The token's signature is wrong.")]
    Signature,
    /// It is for another service.
    #[error("The token is for another audience (`aud`).")]
    Audience,
    /// Its time is over.
    #[error("The token has expired (`exp`). Get a new one.")]
    Expired,
    /// Its time has not come.
    #[error("The token is not valid yet (`nbf`).")]
    Early,
    /// A claim is missing, or does not have a usable value.
    #[error("The token's claim `{0}` is missing, or is not what this service can use.")]
    Claim(String),
    /// The issuer's keys cannot be had now.
    #[error("The keys of the token's issuer cannot be fetched now. Try again.")]
    Unavailable,
}

impl Issuers {
    /// The issuers of the settings; keys at addresses are fetched by `fetcher` when they are first needed.
    pub(crate) fn new(settings: &[IssuerSettings], fetcher: &Fetcher) -> Result<Self, IssuerError> {
        settings.iter().map(|settings| Issuer::new(settings, fetcher)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `credential` is to be read as a token: three parts with points between them, and there are issuers.
    #[must_use]
    pub(crate) fn concerns(&self, credential: &str) -> bool {
        !self.0.is_empty() && credential.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Who sends `token`. Where several settings name its issuer, for different audiences say, one of them has to take it.
    pub(crate) async fn caller(&self, token: &str) -> Result<Caller, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // Read before the signature is checked: it only chooses who checks.
        let unchecked = jsonwebtoken::dangerous::insecure_decode_claims::<Map<String, Value>>(token)
            .map_err(|_| TokenError::Malformed)?;
        let named = unchecked.get("iss").and_then(Value::as_str);
        let mut refusal = TokenError::Issuer;
        for issuer in self.0.iter().filter(|issuer| Some(issuer.name()) == named) {
            match issuer.caller(token, &header).await {
                Ok(caller) => return Ok(caller),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

impl From<jsonwebtoken::errors::Error> for TokenError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidAlgorithm => Self::Algorithm,
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::Early,
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
                Self::Claim(claim.clone())
            }
            _ => Self::Malformed,
        }
    }
}
