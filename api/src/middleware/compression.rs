//! Smaller answers: JSON, and the files of the web page.

use axum::extract::Request;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, ETAG};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

/// Below this an answer fits into a packet or two, whatever its form.
const SMALL: u64 = 1024;

/// Compresses by gzip or brotli, as the client likes.
pub(crate) fn layer() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new()
        .no_deflate()
        .no_zstd()
        // Answers are made for one client each: time matters more than the last per cent.
        .quality(CompressionLevel::Precise(4))
        .compress_when(SizeAbove::new(SMALL).and(worth_it))
}

/// Text. No events, which must not wait in a buffer; and no results, whose ranges and digests are those of the stored file.
fn worth_it(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let text = [
        "application/json",
        "application/problem+json",
        "text/html",
        "text/css",
        "text/javascript",
        "image/svg+xml",
    ];
    text.iter().any(|text| media_type.starts_with(text)) && !headers.contains_key(CONTENT_DISPOSITION)
}

/// The tag of an answer that was compressed is a weak one: its bytes are not those of the answer as it is (RFC 9110, 8.8.1).
pub(crate) async fn weaken_tag(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if headers.contains_key(CONTENT_ENCODING)
        && let Some(tag) = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(ETAG, weak);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_compressed_and_results_and_events_are_not() {
        let worth = |headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            worth_it(StatusCode::OK, Version::HTTP_11, &headers.collect(), &Extensions::new())
        };
        let media_type = "content-type";
        assert!(worth(&[(media_type, "application/json")]));
        assert!(worth(&[(media_type, "text/html; charset=utf-8")]));
        assert!(!worth(&[(media_type, "text/event-stream")]));
        assert!(!worth(&[(media_type, "model/gltf-binary")]));
        assert!(!worth(&[(media_type, "image/png")]));
        assert!(!worth(&[]));
        assert!(
            !worth(&[(media_type, "application/json"), ("content-disposition", "attachment")]),
            "a result"
        );
    }
}
