//! How many jobs a user may have: waiting, running, and made within a day.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use trellis_crds::Phase;

use crate::auth::Caller;
use crate::jobs::JobId;

/// The time in which `per_day` counts.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// For how long a job that was let in counts as waiting though the watch does not know it: it is being made, or just was.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(60);

/// When to ask again where only the end of a job makes room.
const ASK_AGAIN: u32 = 30;

/// A user's quota; no limit where one is left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quota {
    /// Jobs that wait for a worker.
    queued: Option<u32>,
    /// Jobs that run.
    running: Option<u32>,
    /// Jobs made within 24 hours.
    per_day: Option<u32>,
}

/// The quotas of the settings file.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuotaSettings {
    /// Of users who are not named.
    default: Quota,
    /// Of users by name; what is left out is as for others.
    users: HashMap<String, Quota>,
}

impl QuotaSettings {
    /// The quota of this user.
    #[must_use]
    pub(crate) fn of(&self, user: &str) -> Quota {
        let own = self.users.get(user).copied().unwrap_or_default();
        Quota {
            queued: own.queued.or(self.default.queued),
            running: own.running.or(self.default.running),
            per_day: own.per_day.or(self.default.per_day),
        }
    }
}

/// A user has as many jobs as the quota allows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum QuotaError {
    /// They wait.
    #[error("{most} jobs of yours wait for a worker, and no more may. Try again when one has begun.")]
    Queued {
        /// So many may.
        most: u32,
    },
    /// They run.
    #[error("{most} jobs of yours run, and no more may. Try again when one has ended.")]
    Running {
        /// So many may.
        most: u32,
    },
    /// They were made today.
    #[error("You have made {most} jobs within 24 hours, and may make no more.")]
    PerDay {
        /// So many may be made.
        most: u32,
        /// When the first of them is 24 hours old, in seconds.
        wait: u32,
    },
}

impl QuotaError {
    /// When to try again, in seconds.
    #[must_use]
    pub(crate) fn wait(&self) -> u32 {
        match self {
            Self::Queued { .. } | Self::Running { .. } => ASK_AGAIN,
            Self::PerDay { wait, .. } => *wait,
        }
    }
}

/// The jobs that this replica let in of late: those that its watch does not know yet, and those that are gone already and were made today.
#[derive(Debug, Default, Clone)]
pub(crate) struct Quotas(Arc<Mutex<HashMap<User, Vec<Made>>>>);

/// A job that the watch knows.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub phase: Phase,
    /// When it was made.
    pub created: Timestamp,
}

/// A user of a namespace.
type User = (String, String);

#[derive(Debug, Clone)]
struct Made {
    name: String,
    time: Timestamp,
    /// Whether the watch has known it: where it does not any more, it is gone.
    seen: bool,
}

/// The right to make one job. It counts against the quota from now on, unless it is dropped before [`Admission::keep`].
#[derive(Debug)]
#[must_use = "a job that was made must be kept in mind"]
pub(crate) struct Admission {
    quotas: Quotas,
    user: User,
    name: Option<String>,
}

impl Quotas {
    /// Lets the caller make the job `id` at `now`, who has `jobs` as far as the watch knows. Of two requests at once one is let in where there is room for one.
    pub(crate) fn admit(
        &self,
        quota: Quota,
        caller: &Caller,
        id: &JobId,
        jobs: impl FnOnce() -> Vec<Known>,
        now: Timestamp,
    ) -> Result<Admission, QuotaError> {
        let user = (caller.namespace.clone(), caller.user.clone());
        let mut admission = Admission { quotas: self.clone(), user: user.clone(), name: None };
        if quota == Quota::default() {
            return Ok(admission);
        }
        let mut all = self.all();
        // Read under the lock: a job that came into view meanwhile would else be missing here and there.
        let jobs = jobs();
        let made = all.entry(user).or_default();
        made.retain(|made| now.duration_since(made.time) < DAY);
        let known: HashSet<&str> = jobs.iter().map(|job| &*job.name).collect();
        for made in made.iter_mut() {
            made.seen |= known.contains(&*made.name);
        }
        let others: Vec<&Made> =
            made.iter().filter(|made| made.name != id.as_str() && !known.contains(&*made.name)).collect();
        quota.check(&jobs, &others, now)?;
        if !made.iter().any(|made| made.name == id.as_str()) {
            made.push(Made { name: id.as_str().to_owned(), time: now, seen: false });
            admission.name = Some(id.as_str().to_owned());
        }
        Ok(admission)
    }

    /// Forgets what is older than a day.
    pub(crate) fn forget(&self, now: Timestamp) {
        self.all().retain(|_, made| {
            made.retain(|made| now.duration_since(made.time) < DAY);
            !made.is_empty()
        });
    }

    /// A list that was not changed to its end still holds true entries only.
    fn all(&self) -> MutexGuard<'_, HashMap<User, Vec<Made>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// The job was made.
    pub(crate) fn keep(mut self) {
        self.name = None;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(name) = self.name.take()
            && let Some(made) = self.quotas.all().get_mut(&self.user)
        {
            made.retain(|made| made.name != name);
        }
    }
}

impl Quota {
    /// Whether there is room for one more beside `jobs`, those that the watch knows, and `others`, those that were let in here and it does not.
    fn check(self, jobs: &[Known], others: &[&Made], now: Timestamp) -> Result<(), QuotaError> {
        let in_phase = |phase| jobs.iter().filter(|job| job.phase == phase).count();
        let under_way = |made: &&&Made| !made.seen && now.duration_since(made.time) < UNDER_WAY;
        let coming = others.iter().filter(under_way).count();
        let full = |most: Option<u32>, count: usize| most.filter(|&most| count >= most as usize);
        if let Some(most) = full(self.queued, in_phase(Phase::Pending) + coming) {
            return Err(QuotaError::Queued { most });
        }
        if let Some(most) = full(self.running, in_phase(Phase::Processing)) {
            return Err(QuotaError::Running { most });
        }
        let times = jobs.iter().map(|job| job.created).chain(others.iter().map(|made| made.time));
        let mut today: Vec<Timestamp> = times.filter(|time| now.duration_since(*time) < DAY).collect();
        let Some(most) = full(self.per_day, today.len()) else { return Ok(()) };
        today.sort_unstable();
        // There is room when this one is a day old, for then one less than the most is left. With a quota of none it is no job's.
        let last = today.get(today.len() - most as usize).copied().unwrap_or(now);
        let wait = DAY.as_secs() - now.duration_since(last).as_secs();
        Err(QuotaError::PerDay { most, wait: u32::try_from(wait).unwrap_or_default().max(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ulid::Ulid;

    fn now() -> Timestamp {
        "2026-11-30T12:00:00Z".parse().unwrap()
    }

    fn quota(text: &str) -> Quota {
        serde_yaml::from_str(text).unwrap()
    }

    fn id(number: u128) -> JobId {
        JobId::parse(&format!("gj-{}", Ulid::from_parts(0, number).to_string().to_lowercase())).unwrap()
    }

    fn job(number: u128, phase: Phase, hours_ago: i64) -> Known {
        let created = now() - SignedDuration::from_hours(hours_ago);
        Known { name: id(number).as_str().to_owned(), phase, created }
    }

    /// Whether alice may make job 100 beside `jobs`.
    fn ask(quotas: &Quotas, limits: &str, jobs: &[Known]) -> Result<Admission, QuotaError> {
        quotas.admit(quota(limits), &Caller::of("alice", "team"), &id(100), || jobs.to_vec(), now())
    }

    #[test]
    fn each_limit_is_reached_at_its_number_and_no_other_job_counts() {
        let jobs = [
            job(1, Phase::Pending, 1),
            job(2, Phase::Processing, 2),
            job(3, Phase::Processing, 30),
            job(4, Phase::Failed, 23),
            job(5, Phase::Completed, 25),
        ];
        for (limits, expected) in [
            ("{}", Ok(())),
            ("{queued: 2, running: 3, per_day: 4}", Ok(())),
            ("{queued: 1}", Err(QuotaError::Queued { most: 1 })),
            ("{running: 2}", Err(QuotaError::Running { most: 2 })),
            ("{per_day: 3}", Err(QuotaError::PerDay { most: 3, wait: 3600 })),
            ("{per_day: 1}", Err(QuotaError::PerDay { most: 1, wait: 23 * 3600 })),
            ("{per_day: 0}", Err(QuotaError::PerDay { most: 0, wait: 24 * 3600 })),
        ] {
            assert_eq!(ask(&Quotas::default(), limits, &jobs).map(drop), expected, "{limits}");
        }
        assert_eq!(
            ask(&Quotas::default(), "{queued: 0}", &[]).map(drop),
            Err(QuotaError::Queued { most: 0 })
        );
    }

    #[test]
    fn of_two_requests_at_once_one_finds_room() {
        let quotas = Quotas::default();
        let (alice, limits) = (Caller::of("alice", "team"), quota("{queued: 1}"));
        let first = quotas.admit(limits, &alice, &id(1), Vec::new, now()).unwrap();
        let second = || quotas.admit(limits, &alice, &id(2), Vec::new, now());
        assert_eq!(second().map(drop), Err(QuotaError::Queued { most: 1 }));
        quotas.admit(limits, &alice, &id(1), Vec::new, now()).map(drop).expect("the same job again");
        quotas
            .admit(limits, &Caller::of("bob", "team"), &id(3), Vec::new, now())
            .map(drop)
            .expect("another user");
        drop(first);
        second().expect("the first was not made").keep();
        assert!(quotas.admit(limits, &alice, &id(3), Vec::new, now()).is_err(), "the second was");
        quotas
            .admit(limits, &alice, &id(3), || vec![job(2, Phase::Completed, 0)], now())
            .map(drop)
            .expect("it ended");
        quotas.admit(limits, &alice, &id(3), Vec::new, now()).map(drop).expect("it was deleted");
        quotas.admit(limits, &alice, &id(4), Vec::new, now()).unwrap().keep();
        let later = now() + UNDER_WAY;
        quotas.admit(limits, &alice, &id(5), Vec::new, later).map(drop).expect("it was never seen");
    }

    #[test]
    fn a_job_that_was_deleted_still_counts_today() {
        let quotas = Quotas::default();
        let (alice, limits) = (Caller::of("alice", "team"), quota("{per_day: 1}"));
        quotas.admit(limits, &alice, &id(1), Vec::new, now()).unwrap().keep();
        let again = |hours| {
            quotas
                .admit(limits, &alice, &id(2), Vec::new, now() + SignedDuration::from_hours(hours))
                .map(drop)
        };
        assert_eq!(again(10), Err(QuotaError::PerDay { most: 1, wait: 14 * 3600 }));
        assert_eq!(again(24), Ok(()));
        quotas.forget(now() + SignedDuration::from_hours(48));
        assert!(quotas.all().is_empty());
    }

    #[test]
    fn a_user_who_is_named_has_the_rest_from_all() {
        let settings: QuotaSettings =
            serde_yaml::from_str("{default: {queued: 5, per_day: 50}, users: {alice: {queued: 20}}}")
                .unwrap();
        assert_eq!(settings.of("alice"), quota("{queued: 20, per_day: 50}"));
        assert_eq!(settings.of("bob"), quota("{queued: 5, per_day: 50}"));
    }
}
