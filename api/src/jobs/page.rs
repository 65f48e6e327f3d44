//! Lists of jobs, page by page.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use trellis_crds::GenerationJob;

use super::view::{JobList, JobStatus, Status};

/// A place in the list of jobs, the newest first: after the job that was created then and has this name. It holds even when that
/// job is deleted, and jobs that come later do not shift it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor(i64, String);

impl Cursor {
    fn at(job: &GenerationJob) -> Self {
        let created = job.creation_timestamp().map(|time| time.0).unwrap_or(Timestamp::UNIX_EPOCH);
        Self(created.as_second(), job.name_any())
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

/// At most `limit` of `jobs`, those of `status`, the newest first, from `after` on.
pub(crate) fn page(
    mut jobs: Vec<Arc<GenerationJob>>,
    status: Option<Status>,
    after: Option<&Cursor>,
    limit: usize,
) -> JobList {
    jobs.retain(|job| {
        status.is_none_or(|status| status == job.phase().into())
            && after.is_none_or(|after| Cursor::at(job) < *after)
    });
    jobs.sort_by_cached_key(|job| std::cmp::Reverse(Cursor::at(job)));
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    JobList {
        next_cursor: jobs.last().filter(|_| more).map(|job| Cursor::at(job).to_string()),
        jobs: jobs.iter().map(|job| JobStatus::from(&**job)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn jobs(created: &[(i64, &str)]) -> Vec<Arc<GenerationJob>> {
        let job = |&(second, name): &(i64, &str)| {
            let mut job = GenerationJob::default();
            job.metadata.name = Some(name.into());
            job.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
            Arc::new(job)
        };
        created.iter().map(job).collect()
    }

    fn names(list: &JobList) -> Vec<&str> {
        list.jobs.iter().map(|job| job.id.as_str()).collect()
    }

    #[test]
    fn pages_hold_every_job_once_whatever_comes_and_goes_between() {
        let first = page(jobs(&[(1, "a"), (3, "c"), (2, "b1"), (2, "b2"), (2, "b3")]), None, None, 2);
        assert_eq!(names(&first), ["c", "b3"]);
        let after: Cursor = first.next_cursor.unwrap().parse().unwrap();
        // Meanwhile d came and b3, on which the first page ended, went.
        let second = page(jobs(&[(4, "d"), (1, "a"), (3, "c"), (2, "b1"), (2, "b2")]), None, Some(&after), 3);
        assert_eq!(names(&second), ["b2", "b1", "a"]);
        assert_eq!(second.next_cursor, None);
    }
}
