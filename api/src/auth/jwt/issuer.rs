//! One issuer of tokens: what the settings say of it, and what its tokens have to be.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::TokenError;
use super::claims::{self, Claims};
use super::keys::{Keys, Published, Signature};
use super::remote::{Fetcher, Remote};
use crate::auth::Caller;
use crate::auth::keys::is_dns_label;
use crate::auth::scopes::Scopes;

/// More is no difference of clocks any more.
const MOST_LEEWAY: u64 = 300;

/// An issuer, as the settings file names it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerSettings {
    /// What its tokens have in `iss`.
    issuer: String,
    /// What its tokens for this service have in `aud`.
    audience: String,
    /// Where it publishes its keys.
    jwks_url: Option<Url>,
    /// A file with its keys, as they would be published.
    jwks_file: Option<PathBuf>,
    /// Its keys themselves.
    keys: Option<Vec<Value>>,
    /// How its tokens may be signed.
    #[serde(default = "all_signatures")]
    algorithms: Vec<Signature>,
    /// The claim that names the user.
    #[serde(default = "subject")]
    user_claim: String,
    /// What users' names begin with here.
    #[serde(default)]
    user_prefix: String,
    /// The namespace of its users' jobs.
    namespace: Option<String>,
    /// The claim that names the namespace of a user's jobs.
    namespace_claim: Option<String>,
    /// The claim with the scopes; all may read and write where it is left out.
    scope_claim: Option<String>,
    /// What our scopes begin with in that claim.
    #[serde(default)]
    scope_prefix: String,
    /// How far its clock may be off.
    #[serde(default = "a_minute")]
    leeway_seconds: u64,
}

fn all_signatures() -> Vec<Signature> {
    vec![Signature::RS256, Signature::ES256, Signature::EdDSA]
}

fn subject() -> String {
    "sub".to_owned()
}

fn a_minute() -> u64 {
    60
}

impl IssuerSettings {
    /// Puts the keys of `jwks_file` in its place.
    pub(crate) fn read_keys(&mut self) -> Result<(), IssuerError> {
        let Some(path) = self.jwks_file.take() else { return Ok(()) };
        let fault = |reason| IssuerError { issuer: self.issuer.clone(), reason };
        if self.keys.is_some() {
            return Err(fault("give one of jwks_url, jwks_file and keys".into()));
        }
        let json = std::fs::read(&path)
            .map_err(|error| fault(format!("cannot read {}: {error}", path.display())))?;
        let published = Published::parse(&json)
            .map_err(|error| fault(format!("{} is no JSON Web Key Set: {error}", path.display())))?;
        self.keys = Some(published.keys);
        Ok(())
    }
}

/// Why an issuer of the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("jwt: issuer {issuer:?}: {reason}")]
pub(crate) struct IssuerError {
    issuer: String,
    reason: String,
}

/// An issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    name: String,
    keys: Source,
    algorithms: Vec<Algorithm>,
    validation: Validation,
    user_claim: String,
    user_prefix: String,
    namespace: Namespace,
    scopes: Option<(String, String)>,
}

#[derive(Debug)]
enum Source {
    Given(Keys),
    Published(Arc<Remote>),
}

#[derive(Debug)]
enum Namespace {
    OfAll(String),
    InClaim(String),
}

impl Issuer {
    pub(super) fn new(settings: &IssuerSettings, fetcher: &Fetcher) -> Result<Self, IssuerError> {
        let fault = |reason: String| IssuerError { issuer: settings.issuer.clone(), reason };
        if settings.issuer.is_empty() || settings.audience.is_empty() {
            return Err(fault("issuer and audience must not be empty".into()));
        }
        if settings.algorithms.is_empty() {
            return Err(fault("algorithms is empty; leave it out for RS256, ES256 and EdDSA".into()));
        }
        if settings.leeway_seconds > MOST_LEEWAY {
            return Err(fault(format!("leeway_seconds is more than {MOST_LEEWAY}")));
        }
        let mut validation = Validation::new(Algorithm::RS256);
        validation.required_spec_claims = ["exp", "iss", "aud"].map(str::to_owned).into();
        validation.iss = Some(HashSet::from([settings.issuer.clone()]));
        validation.aud = Some(HashSet::from([settings.audience.clone()]));
        validation.validate_nbf = true;
        validation.leeway = settings.leeway_seconds;
        Ok(Self {
            name: settings.issuer.clone(),
            keys: source(settings, fetcher).map_err(fault)?,
            algorithms: settings.algorithms.iter().copied().map(Algorithm::from).collect(),
            validation,
            user_claim: settings.user_claim.clone(),
            user_prefix: settings.user_prefix.clone(),
            namespace: namespace(settings).map_err(|reason| fault(reason.into()))?,
            scopes: settings.scope_claim.clone().map(|claim| (claim, settings.scope_prefix.clone())),
        })
    }

    /// What its tokens have in `iss`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Who sends `token`, whose header is `header`.
    pub(super) async fn caller(&self, token: &str, header: &Header) -> Result<Caller, TokenError> {
        // What a token says to be critical has to be understood (RFC 7515, 4.1.11), and none of it is.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        if !self.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        let key = self.key(header).await?;
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)?.claims;
        self.owner(&claims)
    }

    async fn key(&self, header: &Header) -> Result<DecodingKey, TokenError> {
        match &self.keys {
            Source::Given(keys) => keys.find(header.kid.as_deref(), header.alg).cloned(),
            Source::Published(remote) => remote.find(header.kid.as_deref(), header.alg).await,
        }
    }

    fn owner(&self, claims: &Claims) -> Result<Caller, TokenError> {
        let name = claims::text(claims, &self.user_claim)?;
        let user = claims::user(&format!("{}{name}", self.user_prefix));
        let namespace = match &self.namespace {
            Namespace::OfAll(namespace) => namespace.clone(),
            Namespace::InClaim(claim) => claims::namespace(claims, claim)?,
        };
        let scopes = match &self.scopes {
            Some((claim, prefix)) => claims::scopes(claims, claim, prefix),
            None => Scopes::default(),
        };
        let key = format!("jwt:{namespace}/{user}");
        Ok(Caller { user, namespace, key, scopes })
    }
}

fn source(settings: &IssuerSettings, fetcher: &Fetcher) -> Result<Source, String> {
    match (&settings.jwks_url, &settings.keys) {
        (Some(url), None) if is_private_way(url) => {
            Ok(Source::Published(Remote::new(url.clone(), fetcher.clone())))
        }
        (Some(_), None) => Err("jwks_url must begin with https://".into()),
        (None, Some(keys)) => given(Keys::new(keys)),
        _ => Err("give one of jwks_url, jwks_file and keys".into()),
    }
}

fn given(keys: Keys) -> Result<Source, String> {
    match keys.is_empty() {
        true => Err("there is no key for RS256, ES256 or EdDSA".into()),
        false => Ok(Source::Given(keys)),
    }
}

/// Whether nobody on the way can put keys of their own in the place of those at `url`.
fn is_private_way(url: &Url) -> bool {
    url.scheme() == "https"
        || url.scheme() == "http" && matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn namespace(settings: &IssuerSettings) -> Result<Namespace, &'static str> {
    match (&settings.namespace, &settings.namespace_claim) {
        (Some(name), None) if is_dns_label(name) => Ok(Namespace::OfAll(name.clone())),
        (Some(_), None) => Err("namespace is no namespace's name"),
        (None, Some(claim)) => Ok(Namespace::InClaim(claim.clone())),
        _ => Err("give one of namespace and namespace_claim"),
    }
}
