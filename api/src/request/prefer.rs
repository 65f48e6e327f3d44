//! The `Prefer` header (RFC 7240), of which this service knows `wait`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The longest wait, in seconds: the first proxies give up on requests after that.
const LONGEST: u64 = 60;

/// What the header is called in which an answer says that it honours a preference.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long the client would have the answer wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    /// 1 to 60 s; `None` where the client does not say, or says nothing of sense.
    pub wait: Option<Duration>,
}

impl Prefer {
    /// What the headers say. Preferences that are unknown or malformed are left out of account, as the RFC has it.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let mut preferences = values.flat_map(|value| value.split(','));
        let seconds = preferences.find_map(|preference| {
            // What follows a semicolon are parameters, of which `wait` has none.
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("wait").then(|| value.parse::<u64>().ok())?
        });
        Self {
            wait: seconds
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.min(LONGEST))),
        }
    }

    /// The header of an answer that waited, where it did.
    pub(crate) fn applied(self) -> Option<(HeaderName, HeaderValue)> {
        let seconds = self.wait?.as_secs();
        Some((PREFERENCE_APPLIED, HeaderValue::try_from(format!("wait={seconds}")).ok()?))
    }
}

impl<S: Sync> FromRequestParts<S> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(values: &[&'static str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| _ = headers.append("prefer", HeaderValue::from_static(value)));
        Prefer::of(&headers).wait.map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        for value in ["wait=20", "WAIT = \"20\"", "respond-async, wait=20;x=y", "return=minimal , wait=20"] {
            assert_eq!(wait(&[value]), Some(20), "{value}");
        }
        assert_eq!(wait(&["respond-async", "wait=20"]), Some(20));
        assert_eq!(wait(&["wait=3600"]), Some(60));
    }

    #[test]
    fn what_is_no_wait_is_left_out_of_account() {
        for value in
            ["", "wait", "wait=", "wait=0", "wait=-1", "wait=1.5", "wait=soon", "waiting=5", "=5", ";,="]
        {
            assert_eq!(wait(&[value]), None, "{value}");
        }
        assert_eq!(wait(&[]), None);
    }
}
