//! Who calls: the `Caller` that a handler asks for, found by the API key or the token that a request presents.

pub(crate) mod jwt;
pub(crate) mod keys;
pub(crate) mod scopes;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use k8s_openapi::jiff::Timestamp;

use self::jwt::TokenError;
use self::scopes::{Scope, Scopes};
use crate::app::App;
use crate::problem::Problem;
use crate::settings::policy::Policy;

/// Who sent a request: taken from the API key. A handler that names this type cannot be reached without a valid key that has the scope for the
/// request's method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user's id; jobs carry it in the label `trellis3d.dev/user`.
    pub user: String,
    /// The namespace of the user's jobs.
    pub namespace: String,
    /// What the user presented, by a name: rates are counted by it.
    pub key: String,
    /// What the user may do.
    pub scopes: Scopes,
}

impl Caller {
    /// Whether the jobs of every user of the namespace are the caller's to see and to end.
    #[must_use]
    pub(crate) fn is_admin(&self) -> bool {
        self.scopes.contains(Scope::Admin)
    }

    /// A user who may read and write.
    #[cfg(test)]
    pub(crate) fn of(user: &str, namespace: &str) -> Self {
        Self {
            user: user.into(),
            namespace: namespace.into(),
            key: format!("key:{user}"),
            scopes: Scopes::default(),
        }
    }
}

/// What was found out about the sender of a request, before any handler is asked.
#[derive(Debug, Clone)]
pub(crate) struct Identity(pub(crate) Result<Caller, Unauthenticated>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(Identity(identity)) = parts.extensions.get::<Identity>().cloned() else {
            return Err(Unauthenticated::NoKey.into());
        };
        let caller = identity?;
        caller.scopes.allow(&parts.method)?;
        Ok(caller)
    }
}

/// Who sends a request with these headers.
pub(crate) async fn identify(
    app: &App,
    policy: &Policy,
    headers: &HeaderMap,
) -> Result<Caller, Unauthenticated> {
    let credential = presented(headers).ok_or(Unauthenticated::NoKey)?;
    if policy.issuers.concerns(credential) {
        return Ok(policy.issuers.caller(credential).await?);
    }
    app.keys.borrow().caller(credential, Timestamp::now())
}

/// Why a request has no caller.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Unauthenticated {
    /// Neither header holds a key.
    #[error("Send an API key, as `Authorization: Bearer <key>` or `X-API-Key: <key>`.")]
    NoKey,
    /// The key is none of ours, or no longer.
    #[error("This API key is not valid. It may have been mistyped or withdrawn.")]
    WrongKey,
    /// The key's time is over.
    #[error("This API key has expired. Ask an administrator for a new one.")]
    ExpiredKey,
    /// The token is not taken.
    #[error(transparent)]
    Token(#[from] TokenError),
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        return headers.get("x-api-key")?.to_str().ok();
    };
    let (scheme, key) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_is_read_from_either_header() {
        for accepted in
            [[("authorization", "Bearer k1")], [("authorization", "bearer  k1 ")], [("x-api-key", "k1")]]
        {
            assert_eq!(presented(&headers(&accepted)), Some("k1"), "{accepted:?}");
        }
        for refused in [&[][..], &[("authorization", "Basic k1")], &[("authorization", "k1")]] {
            assert_eq!(presented(&headers(refused)), None, "{refused:?}");
        }
    }
}
