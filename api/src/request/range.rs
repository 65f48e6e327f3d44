//! The headers `Range` and `If-Range` (RFC 9110).

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};
use http_range_header::{EndPosition, StartPosition, parse_range_header};

/// The file has none of the bytes that are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsatisfiable;

/// The bytes that are wanted of a file of `size` bytes with the strong entity tag `tag`; `None` for all of it. A header that is malformed, names
/// several ranges or is about another version of the file is left out of account, as the RFC allows.
pub(crate) fn wanted_range(
    headers: &HeaderMap,
    size: u64,
    tag: &str,
) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let is_about_another = headers.get(IF_RANGE).is_some_and(|known| known != tag);
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok()).filter(|_| !is_about_another);
    let Some(Ok(parsed)) = range.map(parse_range_header) else { return Ok(None) };
    let [single] = parsed.ranges.as_slice() else { return Ok(None) };
    let range = match (single.start, single.end) {
        (StartPosition::FromLast(count), _) => size.saturating_sub(count)..size,
        (StartPosition::Index(start), EndPosition::LastByte) => start..size,
        (StartPosition::Index(start), EndPosition::Index(end)) if start <= end => {
            start..end.saturating_add(1).min(size)
        }
        // From a byte back to an earlier one is malformed.
        _ => return Ok(None),
    };
    if range.is_empty() { Err(Unsatisfiable) } else { Ok(Some(range)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &'static str, size: u64) -> Result<Option<Range<u64>>, Unsatisfiable> {
        wanted_range(&[(RANGE, range.parse().unwrap())].into_iter().collect(), size, "\"a\"")
    }

    #[test]
    fn one_range_is_honoured() {
        assert_eq!(of("bytes=0-0", 10), Ok(Some(0..1)));
        assert_eq!(of("bytes=3-", 10), Ok(Some(3..10)));
        assert_eq!(of("bytes=3-100", 10), Ok(Some(3..10)));
        assert_eq!(of("bytes=-4", 10), Ok(Some(6..10)));
        assert_eq!(of("bytes=-40", 10), Ok(Some(0..10)));
    }

    #[test]
    fn bytes_beyond_the_end_cannot_be_had() {
        assert_eq!(of("bytes=10-", 10), Err(Unsatisfiable));
        assert_eq!(of("bytes=10-20", 10), Err(Unsatisfiable));
        assert_eq!(of("bytes=18446744073709551615-", 10), Err(Unsatisfiable));
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(of(range, 0), Err(Unsatisfiable), "{range}");
        }
    }

    #[test]
    fn what_is_no_single_range_gives_the_whole_file() {
        for range in
            ["", "bytes", "bytes=", "bytes=a-b", "bytes=5-2", "bytes=0-1,4-5", "lines=0-1", "bytes=--1"]
        {
            assert_eq!(of(range, 10), Ok(None), "{range}");
        }
        assert_eq!(wanted_range(&HeaderMap::new(), 10, "\"a\""), Ok(None));
    }

    #[test]
    fn a_range_of_another_version_gives_the_whole_file() {
        let of = |known: &'static str| {
            let headers = [(RANGE, "bytes=0-0".parse().unwrap()), (IF_RANGE, known.parse().unwrap())];
            wanted_range(&headers.into_iter().collect(), 10, "\"a\"")
        };
        assert_eq!(of("\"a\""), Ok(Some(0..1)));
        for other in ["\"b\"", "W/\"a\"", "Tue, 24 Nov 2026 07:00:00 GMT"] {
            assert_eq!(of(other), Ok(None), "{other}");
        }
    }
}
