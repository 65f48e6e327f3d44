//! Jobs as this service sees them: GenerationJobs that carry its label and a user.

pub(crate) mod archive;
pub(crate) mod build;
pub(crate) mod create;
pub(crate) mod inputs;
pub(crate) mod page;
pub(crate) mod result;
pub(crate) mod store;
pub(crate) mod view;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use ulid::Ulid;

use crate::cluster::ClusterError;
use crate::problem::Problem;

const PREFIX: &str = "gj-";

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
