//! The header `If-None-Match` (RFC 9110).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;
use axum::http::request::Parts;

/// The entity tags that the client has already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known(Vec<String>);

impl Known {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let tags = values.flat_map(|value| value.split(',')).map(|tag| opaque(tag).to_owned());
        Self(tags.filter(|tag| !tag.is_empty()).collect())
    }

    /// Whether the client has what this tag stands for, by the weak comparison.
    pub(crate) fn has(&self, tag: &str) -> bool {
        self.0.iter().any(|known| known == "*" || known == opaque(tag))
    }

    /// Whether the client has nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn opaque(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/")
}

impl<S: Sync> FromRequestParts<S> for Known {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(value: &'static str) -> Known {
        Known::of(&[(IF_NONE_MATCH, value.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn tags_are_compared_weakly() {
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(known(value).has("\"a\"") && known(value).has("W/\"a\""), "{value}");
        }
        for value in ["\"b\"", "a", ""] {
            assert!(!known(value).has("\"a\""), "{value}");
        }
        assert!(known("").is_empty() && Known::of(&HeaderMap::new()).is_empty());
    }
}
