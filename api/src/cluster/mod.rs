//! Kubernetes as this service uses it: watches, and calls with a deadline whose failures have names.

mod freshness;
mod watch;

use std::time::Duration;

use kube::core::Status;

pub(crate) use freshness::Freshness;
pub(crate) use watch::{changes, watch};

/// How long a call may take. The API server itself gives up on most after 60 s, long after a client has lost patience.
const DEADLINE: Duration = Duration::from_secs(10);

/// The API server takes objects of at most 3 MiB, and those that a request of any use makes have a few kB.
const TOO_LARGE: &str = "The request's fields beside the image are too large.";

/// Why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// There is an object of this name already.
    #[error("an object of this name exists")]
    AlreadyExists,
    /// The object breaks rules of the schema or of a policy.
    #[error("the API server refuses the object")]
    Invalid(Vec<Violation>),
    /// A ResourceQuota of the namespace is used up.
    #[error("the namespace's quota is used up")]
    QuotaExceeded,
    /// The API server cannot be reached, or is overloaded.
    #[error("the API server cannot be reached: {0}")]
    Unavailable(String),
    /// The API server says no for a reason that only an administrator can change, such as missing rights.
    #[error("the API server answers {code} {reason}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The reason in a word.
        reason: String,
        /// The reason for people; may name internals.
        message: String,
    },
}

/// A rule that an object breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The field of the object, such as `spec.sampling.seed`; may be empty.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(*status),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<Status> for ClusterError {
    fn from(status: Status) -> Self {
        if status.is_not_found() {
            Self::NotFound
        } else if status.is_already_exists() {
            Self::AlreadyExists
        } else if status.is_invalid() {
            Self::Invalid(violations(status))
        } else if status.code == 413 {
            Self::Invalid(vec![Violation { field: String::new(), message: TOO_LARGE.to_owned() }])
        } else if status.is_forbidden() && status.message.contains("exceeded quota") {
            Self::QuotaExceeded
        } else if matches!(status.code, 409 | 429) || status.code >= 500 {
            // A conflict here is one of requests that count against the same quota at the same time.
            Self::Unavailable(format!("{} {}", status.code, status.reason))
        } else {
            Self::Refused { code: status.code, reason: status.reason, message: status.message }
        }
    }
}

fn violations(status: Status) -> Vec<Violation> {
    let causes = status.details.map(|details| details.causes).unwrap_or_default();
    // `<nil>` is the API server's note that its CEL rules were not asked because of the causes beside it.
    let faults = causes.into_iter().filter(|cause| cause.field != "<nil>");
    let violations: Vec<_> =
        faults.map(|cause| Violation { field: cause.field, message: cause.message }).collect();
    match violations.is_empty() {
        true => vec![Violation { field: String::new(), message: status.message }],
        false => violations,
    }
}

/// Makes a call, and gives up on it after a while.
pub(crate) async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ClusterError::Unavailable(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{StatusCause, StatusDetails, reason};

    fn status(code: u16, reason: &str, message: &str) -> Status {
        Status::failure(message, reason).with_code(code)
    }

    #[test]
    fn answers_get_the_names_that_callers_decide_on() {
        let named = |status: Status| ClusterError::from(status);
        assert!(matches!(named(status(404, reason::NOT_FOUND, "")), ClusterError::NotFound));
        assert!(matches!(named(status(409, reason::ALREADY_EXISTS, "")), ClusterError::AlreadyExists));
        let quota = status(403, reason::FORBIDDEN, "exceeded quota: jobs, requested: 1");
        assert!(matches!(named(quota), ClusterError::QuotaExceeded));
        assert!(matches!(named(status(403, reason::FORBIDDEN, "no right")), ClusterError::Refused { .. }));
        for code in [409, 429, 500, 503, 504] {
            assert!(matches!(named(status(code, "", "")), ClusterError::Unavailable(_)), "{code}");
        }
    }

    /// A prompt of megabytes: the API server reads no object as large as that, so that no rule of the schema refuses it.
    #[test]
    fn an_object_too_large_to_be_read_is_the_requests_fault() {
        let refused = ClusterError::from(status(413, "RequestEntityTooLarge", "limit is 3145728"));
        assert!(matches!(refused, ClusterError::Invalid(_)), "{refused:?}");
    }

    #[test]
    fn every_cause_of_a_refusal_is_kept_and_no_note_beside_them() {
        let cause =
            |field: &str| StatusCause { reason: String::new(), message: "no".into(), field: field.into() };
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: vec![cause("spec.quality"), cause("<nil>"), cause("")],
            retry_after_seconds: 0,
        };
        let ClusterError::Invalid(violations) = status(422, reason::INVALID, "").with_details(details).into()
        else {
            panic!("not Invalid");
        };
        assert_eq!(violations.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["spec.quality", ""]);
    }
}
