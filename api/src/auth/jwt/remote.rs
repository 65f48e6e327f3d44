//! The keys that an issuer publishes at an address, kept and fetched anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::TokenError;
use super::keys::{Keys, Published};

/// How old keys may get before they are fetched anew: for so long an issuer's key works on that it has withdrawn.
const REFRESH: Duration = Duration::from_secs(300);

/// How long after a fetch the next one may begin, however many tokens name keys that are not known.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sets of keys have a few kB.
const MOST_BYTES: usize = 256 << 10;

/// Fetches sets of keys. The addresses are the administrator's, so that they may be private ones.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher(Client);

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{}", cause(.0))]
    Http(#[from] reqwest::Error),
    #[error("the answer is larger than {} KiB", MOST_BYTES >> 10)]
    TooLarge,
    #[error("the answer is no JSON Web Key Set: {0}")]
    Parse(#[from] serde_json::Error),
    #[error("the answer has no key for RS256, ES256 or EdDSA")]
    Empty,
}

/// The innermost cause: the error's own text is about the address alone.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl Fetcher {
    /// One that trusts the authorities of the system.
    pub(crate) fn new() -> reqwest::Result<Self> {
        // A redirection would lead to where the administrator did not.
        Ok(Self(Client::builder().redirect(Policy::none()).timeout(TIMEOUT).build()?))
    }

    async fn fetch(&self, url: &Url) -> Result<Keys, FetchError> {
        let mut answer = self.0.get(url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            if body.len() + piece.len() > MOST_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        let keys = Keys::new(&Published::parse(&body)?.keys);
        if keys.is_empty() { Err(FetchError::Empty) } else { Ok(keys) }
    }
}

/// An address of keys, and the keys that were there last.
#[derive(Debug)]
pub(super) struct Remote {
    url: Url,
    fetcher: Fetcher,
    known: Mutex<Known>,
    /// Held by who fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<Keys>,
    /// When they were fetched.
    fetched: Option<Instant>,
    /// When they were last tried to be fetched.
    tried: Option<Instant>,
}

impl Known {
    /// Whether the keys got old, and nobody is about to change that.
    fn is_due(&self, now: Instant) -> bool {
        self.fetched.is_some_and(|then| now.duration_since(then) >= REFRESH) && self.may_fetch(now)
    }

    /// Whether another fetch may begin.
    fn may_fetch(&self, now: Instant) -> bool {
        self.tried.is_none_or(|then| now.duration_since(then) >= PAUSE)
    }
}

impl Remote {
    pub(super) fn new(url: Url, fetcher: Fetcher) -> Arc<Self> {
        Arc::new(Self { url, fetcher, known: Mutex::default(), fetching: tokio::sync::Mutex::default() })
    }

    /// The key for a token. Keys that got old are fetched beside the request that finds that out, which goes on with those there are; a key that
    /// is not among them is waited for.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, TokenError> {
        if self.state().is_due(Instant::now()) {
            let this = self.clone();
            tokio::spawn(async move { this.refresh().await });
        }
        match self.keys().find(id, algorithm) {
            Err(TokenError::Key) => self.refresh().await,
            found => return found.cloned(),
        }
        let keys = self.keys();
        match keys.find(id, algorithm) {
            Err(TokenError::Key) if keys.is_empty() => Err(TokenError::Unavailable),
            found => found.cloned(),
        }
    }

    fn keys(&self) -> Arc<Keys> {
        self.state().keys.clone()
    }

    /// Fetches the keys, unless somebody just did.
    async fn refresh(&self) {
        let _fetching = self.fetching.lock().await;
        {
            let mut known = self.state();
            let now = Instant::now();
            if !known.may_fetch(now) {
                return;
            }
            known.tried = Some(now);
        }
        match self.fetcher.fetch(&self.url).await {
            Ok(keys) => {
                let mut known = self.state();
                known.keys = Arc::new(keys);
                known.fetched = Some(Instant::now());
            }
            Err(error) => {
                tracing::warn!(%error, "the keys of an issuer of tokens cannot be fetched; see jwks_url in the settings file")
            }
        }
    }

    /// Nothing in it is ever half changed.
    fn state(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_when_they_are_old_and_not_more_often_than_may_be() {
        let now = Instant::now();
        assert!(Known::default().may_fetch(now));
        assert!(!Known::default().is_due(now), "the first token waits for the keys");
        let mut known = Known { fetched: Some(now), tried: Some(now), ..Known::default() };
        assert!(!known.may_fetch(now) && known.may_fetch(now + PAUSE));
        assert!(!known.is_due(now + REFRESH - PAUSE) && known.is_due(now + REFRESH));
        known.tried = Some(now + REFRESH);
        assert!(!known.is_due(now + REFRESH), "somebody fetches them");
    }
}
