//! The `Idempotency-Key` header
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header>).

use axum::extract::OptionalFromRequestParts;
use axum::http::request::Parts;

use super::RequestError;
use crate::problem::Problem;

/// A client's own name for a request, 1 to 255 visible ASCII characters: sending it again makes no second job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(pub String);

impl<S: Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(None) };
        match value.to_str() {
            Ok(key) if (1..=255).contains(&key.len()) => Ok(Some(Self(key.to_owned()))),
            _ => Err(RequestError::Parameter(
                "Idempotency-Key must have 1 to 255 visible ASCII characters.".into(),
            )
            .into()),
        }
    }
}
