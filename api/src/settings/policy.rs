//! The settings file: what may be changed while the service runs.

use std::path::{Path, PathBuf};

use axum::http::HeaderValue;
use ipnet::IpNet;
use reqwest::Url;
use serde::Deserialize;

use crate::auth::jwt::{Fetcher, IssuerError, IssuerSettings, Issuers};
use crate::limits::address::{ForwardedHeader, Proxies};
use crate::limits::quotas::QuotaSettings;
use crate::limits::rates::{RateSettings, Rates};

/// The file's contents.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    jwt: Vec<IssuerSettings>,
    quotas: QuotaSettings,
    rate_limits: RateSettings,
    cors: Cors,
    hsts_seconds: Option<u64>,
    trusted_proxies: Vec<String>,
    forwarded_header: ForwardedHeader,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cors {
    origins: Vec<String>,
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the settings file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no YAML, or has something in it that is no setting.
    #[error("the settings file {path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_yaml::Error,
    },
    /// A setting has a value that is of no use.
    #[error("the settings file {path}: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        reason: String,
    },
}

/// What the settings file says, ready for use. Nothing is limited and no token is taken where there is no file.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    file: File,
    /// Whose tokens are taken.
    pub issuers: Issuers,
    /// The quotas of users.
    pub quotas: QuotaSettings,
    /// The requests of late.
    pub rates: Rates,
    /// Which proxies are believed.
    pub proxies: Proxies,
    /// The web pages that may use the service from another origin.
    pub origins: Vec<HeaderValue>,
    /// What browsers are told of TLS.
    pub hsts: Option<HeaderValue>,
}

/// The same settings: what was counted meanwhile makes no difference.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl Policy {
    /// Reads and checks the file at `path`.
    pub(crate) fn read(path: &Path, fetcher: &Fetcher) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
        let file = parse(&text).map_err(|source| PolicyError::Parse { path: path.to_owned(), source })?;
        Self::new(file, fetcher).map_err(|reason| PolicyError::Value { path: path.to_owned(), reason })
    }

    fn new(mut file: File, fetcher: &Fetcher) -> Result<Self, String> {
        let text = |error: IssuerError| error.to_string();
        // So that a changed file of keys is a change of the settings.
        for issuer in &mut file.jwt {
            issuer.read_keys().map_err(text)?;
        }
        Ok(Self {
            issuers: Issuers::new(&file.jwt, fetcher).map_err(text)?,
            quotas: file.quotas.clone(),
            rates: Rates::new(&file.rate_limits),
            proxies: Proxies { trusted: networks(&file.trusted_proxies)?, header: file.forwarded_header },
            origins: file.cors.origins.iter().map(|origin| self::origin(origin)).collect::<Result<_, _>>()?,
            hsts: file.hsts_seconds.and_then(|seconds| format!("max-age={seconds}").parse().ok()),
            file,
        })
    }
}

/// An empty file, or one with comments alone, sets nothing.
fn parse(text: &str) -> Result<File, serde_yaml::Error> {
    Ok(serde_yaml::from_str::<Option<File>>(text)?.unwrap_or_default())
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, String> {
    let network = |text: &String| {
        text.parse().map_err(|_| {
            format!("trusted_proxies: {text:?} is no network; write it as 10.0.0.0/8, or 192.0.2.1/32 for one address")
        })
    };
    texts.iter().map(network).collect()
}

/// An origin as browsers send it: `https://shop.example`, nothing behind it. No `*`: who may use the service is to be said.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let same = text.parse::<Url>().is_ok_and(|url| url.origin().ascii_serialization() == text);
    let value = same.then(|| HeaderValue::from_str(text).ok()).flatten();
    value.ok_or_else(|| {
        format!("cors: {text:?} is no origin; write it as browsers send it, such as https://shop.example")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, String> {
        let fetcher = Fetcher::new().unwrap();
        parse(text).map_err(|error| error.to_string()).and_then(|file| Policy::new(file, &fetcher))
    }

    #[test]
    fn nothing_is_set_by_nothing() {
        for text in ["", "# Comments alone.\n", "{}"] {
            assert!(policy(text).unwrap() == Policy::default(), "{text:?}");
        }
    }

    #[test]
    fn the_documentations_example_is_one() {
        let documentation = include_str!("../../../docs/api-settings.md");
        let example = documentation.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        let policy = policy(example).unwrap();
        assert!(policy.hsts.is_some() && !policy.origins.is_empty() && !policy.proxies.trusted.is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, reason) in [
            ("cors: {origins: ['*']}", "\"*\" is no origin"),
            ("cors: {origins: ['https://shop.example/']}", "no origin"),
            ("cors: {origins: [shop.example]}", "no origin"),
            ("trusted_proxies: [10.0.0.0/33]", "trusted_proxies"),
            ("rate_limits: {key: {per_minute: 0}}", "per_minute"),
            ("quotas: {default: {queued: -1}}", "queued"),
            ("quota: {}", "quota"),
            ("jwt: [{issuer: a, audience: b, namespace: c}]", "issuer \"a\": give one of jwks_url"),
            ("jwt: [{issuer: a, audience: b, namespace: C, jwks_url: 'https://a'}]", "no namespace's name"),
            ("jwt: [{issuer: a, audience: b, jwks_url: 'https://a'}]", "namespace_claim"),
            ("jwt: [{issuer: a, audience: b, namespace: c, jwks_url: 'http://a'}]", "https://"),
            (
                "jwt: [{issuer: a, audience: b, namespace: c, jwks_url: 'https://a', algorithms: [HS256]}]",
                "HS256",
            ),
            (
                "jwt: [{issuer: a, audience: b, namespace: c, jwks_url: 'https://a', algorithms: [none]}]",
                "none",
            ),
            ("jwt: [{issuer: a, audience: '', namespace: c, jwks_url: 'https://a'}]", "must not be empty"),
            (
                "jwt: [{issuer: a, audience: b, namespace: c, jwks_url: 'https://a', leeway_seconds: 301}]",
                "leeway",
            ),
            ("jwt: [{issuer: a, audience: b, namespace: c, keys: [{kty: oct, k: AAAA}]}]", "no key"),
            ("jwt: [{issuer: a, audience: b, namespace: c, jwks_file: /nowhere}]", "/nowhere"),
        ] {
            let error = policy(text).map(drop).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
