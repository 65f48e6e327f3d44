//! Lists of jobs: which, and page by page.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use trellis_crds::{GenerationJob, InputKind, Phase};
use utoipa::ToSchema;

use super::packed::Packed;
use super::view::Status;

/// A place in the list of jobs, the newest first: after the job that was created then and has this name. It holds even when that
/// job is deleted, and jobs that come later do not shift it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor(i64, String);

impl Cursor {
    /// The place of a job.
    pub(crate) fn at(job: &GenerationJob) -> Self {
        let created = job.creation_timestamp().map(|time| time.0).unwrap_or(Timestamp::UNIX_EPOCH);
        Self(created.as_second(), job.name_any())
    }

    /// The name of the job at this place.
    pub(crate) fn name(&self) -> &str {
        &self.1
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('.').and_then(|(created, name)| Some((created.parse().ok()?, name)));
        let (created, name) = parts.ok_or("cursor must be the next_cursor of an earlier answer")?;
        Ok(Self(created, name.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Which jobs a list has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Those where this is so.
    pub status: Option<Status>,
    /// Those made of this.
    pub input: Option<InputKind>,
    /// Those created at this time or later.
    pub created_after: Option<Timestamp>,
    /// Those created before this time.
    pub created_before: Option<Timestamp>,
}

impl Filter {
    /// Whether it takes a job, whatever its status.
    pub(crate) fn admits(&self, input: Option<InputKind>, created: Timestamp) -> bool {
        self.input.is_none_or(|wanted| input == Some(wanted))
            && self.created_after.is_none_or(|after| created >= after)
            && self.created_before.is_none_or(|before| created < before)
    }

    /// Whether it takes jobs in this phase.
    pub(crate) fn admits_phase(&self, phase: Phase) -> bool {
        self.status.is_none_or(|status| status == phase.into())
    }
}

/// How many jobs there are of each status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// Wait for a worker.
    pub pending: u64,
    /// A worker has them.
    pub processing: u64,
    /// Their files are there.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Were cancelled.
    pub cancelled: u64,
}

impl Totals {
    /// Counts a job in this phase.
    pub(crate) fn count(&mut self, phase: Phase) {
        let total = match phase {
            Phase::Pending => &mut self.pending,
            Phase::Processing => &mut self.processing,
            Phase::Completed => &mut self.completed,
            Phase::Failed => &mut self.failed,
            Phase::Cancelled => &mut self.cancelled,
        };
        *total += 1;
    }
}

/// A page of jobs.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// The jobs.
    pub jobs: Vec<Packed>,
    /// Whether others follow.
    pub has_more: bool,
    /// How many there are on all pages, whatever status was asked for.
    pub totals: Totals,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let mut job = GenerationJob::default();
        job.metadata.name = Some("gj-a.b".into());
        let place = Cursor::at(&job);
        assert_eq!(place.to_string().parse(), Ok(place));
        for wrong in ["", "a", "1", ".a", "x.a", "1e3.a"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_span_begins_with_its_first_moment_and_ends_before_its_last() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let filter =
            Filter { created_after: Some(at(10)), created_before: Some(at(20)), ..Filter::default() };
        let admitted = [9, 10, 19, 20].map(|second| filter.admits(Some(InputKind::Image), at(second)));
        assert_eq!(admitted, [false, true, true, false]);
    }
}
