//! Who calls: the `Caller` that a handler asks for, found by the API key that a request presents.

pub(crate) mod keys;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::app::App;
use crate::problem::Problem;

/// Who sent a request: taken from the API key. A handler that names this type cannot be reached without a valid key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user's id; jobs carry it in the label `trellis3d.dev/user`.
    pub user: String,
    /// The namespace of the user's jobs.
    pub namespace: String,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let key = presented(&parts.headers).ok_or(Unauthenticated::NoKey)?;
        let caller = app.keys.borrow().caller(key).ok_or(Unauthenticated::WrongKey)?;
        Ok(caller)
    }
}

/// Why a request has no caller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Unauthenticated {
    /// Neither header holds a key.
    #[error("Send an API key, as `Authorization: Bearer <key>` or `X-API-Key: <key>`.")]
    NoKey,
    /// The key is none of ours, or no longer.
    #[error("This API key is not valid. It may have been mistyped or withdrawn.")]
    WrongKey,
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
