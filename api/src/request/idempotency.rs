//! The `Idempotency-Key` header
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header>).

use axum::extract::OptionalFromRequestParts;
use axum::http::request::Parts;

use super::RequestError;
use crate::problem::Problem;

/// A client's own name for a request, 1 to 255 visible ASCII characters, or spaces between them: sending it again makes no second job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(pub String);

impl<S: Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(None) };
        match value.to_str() {
            Ok(key) if (1..=255).contains(&key.len()) && !key.contains('\t') => {
                Ok(Some(Self(key.to_owned())))
            }
            _ => Err(RequestError::Parameter(
                "Idempotency-Key must have 1 to 255 visible ASCII characters, or spaces between them.".into(),
            )
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    async fn key(value: &[u8]) -> Result<Option<IdempotencyKey>, Problem> {
        let request = Request::post("/").header("idempotency-key", value).body(()).unwrap();
        IdempotencyKey::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn a_key_is_what_the_description_says() {
        for taken in ["a", "order 7/~", &"k".repeat(255)] {
            let expected = IdempotencyKey(taken.to_owned());
            assert_eq!(key(taken.as_bytes()).await.unwrap(), Some(expected));
        }
        for refused in [&b""[..], b"a\tb", "é".as_bytes(), &[b'k'; 256]] {
            assert!(key(refused).await.is_err(), "{refused:?}");
        }
    }
}
