//! Jobs as this service sees them: GenerationJobs that carry its label and a user.

pub(crate) mod archive;
pub(crate) mod build;
mod cache;
pub(crate) mod create;
pub(crate) mod document;
mod followers;
pub(crate) mod following;
pub(crate) mod inputs;
pub(crate) mod orders;
mod packed;
pub(crate) mod page;
mod queue;
mod ranking;
pub(crate) mod result;
pub(crate) mod store;
pub(crate) mod view;
pub(crate) mod zip;

use std::time::{Duration, SystemTime};

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use ulid::Ulid;

use crate::cluster::ClusterError;
use crate::problem::Problem;

const PREFIX: &str = "gj-";

/// For how long after its creation a job may be missing from a replica's watch: replicas' clocks differ, and a watch that broke is taken up again.
const NEW: Duration = Duration::from_secs(60);

/// How long an answer waits until the cluster has done what was asked for. It will do it in any case.
const PATIENCE: Duration = Duration::from_secs(5);

/// A job's id, which is its object's name: `gj-` and a ULID in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobId(String);

impl JobId {
    fn new(ulid: Ulid) -> Self {
        Self(format!("{PREFIX}{}", ulid.to_string().to_ascii_lowercase()))
    }

    /// Reads an id; `None` where `text` is none that this service ever gave.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let ulid = Ulid::from_string(&text.strip_prefix(PREFIX)?.to_ascii_uppercase()).ok()?;
        let id = Self::new(ulid);
        (id.0 == text).then_some(id)
    }

    /// Whether a job of this id may have been created just before `now`. The time in an id tells; that of an idempotency key's job lies in the
    /// future always, for such a job is made when the key is first used.
    #[must_use]
    fn may_be_new(&self, now: SystemTime) -> bool {
        let ulid = self.0.strip_prefix(PREFIX).and_then(|ulid| Ulid::from_string(ulid).ok());
        ulid.is_some_and(|ulid| ulid.datetime() + NEW >= now)
    }

    /// The id as text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// From the path; whatever cannot be an id is a job that is not there.
impl<S: Send + Sync> FromRequestParts<S> for JobId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.ok().and_then(|Path(text)| Self::parse(&text)).ok_or_else(|| JobError::NotFound.into())
    }
}

/// Why a job cannot be read or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// The user has no such job.
    #[error("You have no job of this id. It may have been deleted.")]
    NotFound,
    /// The API server could not be asked.
    #[error(transparent)]
    Cluster(ClusterError),
    /// The storage does not give the record of a job that is not in Kubernetes any more.
    #[error(transparent)]
    Archive(trellis_storage::Error),
    /// The record is none of a job.
    #[error("the record of a job that is not in Kubernetes any more cannot be read: {0}")]
    Record(serde_json::Error),
}

impl From<ClusterError> for JobError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::NotFound => Self::NotFound,
            other => Self::Cluster(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_for_how_long_its_job_may_be_new() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let id = |time| JobId::new(Ulid::from_parts(time, 0)).may_be_new(now);
        assert!(id(1_800_000_000_000) && id(1_799_999_941_000));
        assert!(id(1_800_000_030_000), "the clock of another replica is ahead");
        assert!(!id(1_799_999_939_000));
        assert!(id((1 << 48) - 1), "an idempotency key's");
    }
}
