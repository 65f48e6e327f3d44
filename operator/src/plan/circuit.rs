//! A pool's circuit breaker: when its workers fail at one job after another, the next ones wait instead of using up their retries.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use trellis_crds::{Attempt, FailureReason, OpenCircuit, Outcome};

use super::backoff::doubled;
use crate::key::Uid;
use crate::time::after;

/// How many failures in a row open the circuit, where they are not all of one job: that may be to blame itself.
const FAILURES: usize = 5;
/// How long the first pause is. It doubles with every probe that fails.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// Whether a pool's workers get jobs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Circuit {
    /// They do. With the jobs at which they failed last, in a row.
    Closed { failed: Vec<Uid> },
    /// They get none before `retry`, and then one at a time, until one works.
    Open { retry: Timestamp, openings: i32 },
}

/// What an attempt that ended says about the workers of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    Worked,
    Failed,
}

impl Default for Circuit {
    fn default() -> Self {
        Circuit::Closed { failed: Vec::new() }
    }
}

impl Trial {
    /// Input that is no good and networks that fail say nothing about workers.
    pub(crate) fn of(attempt: &Attempt) -> Option<Self> {
        use FailureReason::{Internal, NoSignOfLife, OutOfMemory, WorkerCrashed};
        match (attempt.outcome, attempt.reason) {
            (Outcome::Succeeded, _) => Some(Trial::Worked),
            (Outcome::Failed, Some(Internal | NoSignOfLife | OutOfMemory | WorkerCrashed)) => {
                Some(Trial::Failed)
            }
            _ => None,
        }
    }
}

impl Circuit {
    /// As the pool's status has it, which outlives the operator.
    pub(crate) fn stored(open: Option<&OpenCircuit>) -> Self {
        open.map_or_else(Self::default, |open| Circuit::Open {
            retry: open.retry_time.0,
            openings: open.openings,
        })
    }

    /// What the pool's status is to say.
    pub(crate) fn to_store(&self) -> Option<OpenCircuit> {
        match self {
            Circuit::Closed { .. } => None,
            Circuit::Open { retry, openings } => {
                Some(OpenCircuit { retry_time: MicroTime(*retry), openings: *openings })
            }
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Circuit::Open { .. })
    }

    /// When a job may be tried, where none may now.
    pub(crate) fn pause_ends(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Circuit::Open { retry, .. } if now < *retry => Some(*retry),
            _ => None,
        }
    }

    /// How many more jobs may be given to workers, of which `busy` have one. While the circuit is open, what runs is the probe.
    pub(crate) fn room(&self, busy: usize, now: Timestamp) -> usize {
        match self {
            Circuit::Closed { .. } => usize::MAX,
            Circuit::Open { retry, .. } if now < *retry => 0,
            Circuit::Open { .. } => usize::from(busy == 0),
        }
    }

    /// The circuit after an attempt at `job` ended.
    pub(crate) fn after(self, trial: Trial, job: &Uid, now: Timestamp) -> Self {
        match (self, trial) {
            (_, Trial::Worked) => Self::default(),
            (Circuit::Closed { mut failed }, Trial::Failed) => {
                failed.push(job.clone());
                let last = &failed[failed.len().saturating_sub(FAILURES)..];
                let of_several_jobs = last.iter().any(|other| other != job);
                if last.len() == FAILURES && of_several_jobs {
                    return open(1, now);
                }
                Circuit::Closed { failed: last.to_vec() }
            }
            // What began before the circuit was opened is no probe.
            (Circuit::Open { retry, openings }, Trial::Failed) if now < retry => {
                Circuit::Open { retry, openings }
            }
            (Circuit::Open { openings, .. }, Trial::Failed) => open(openings.saturating_add(1), now),
        }
    }
}

fn open(openings: i32, now: Timestamp) -> Circuit {
    let pause = doubled(FIRST_PAUSE, LONGEST_PAUSE, u32::try_from(openings).unwrap_or(0));
    Circuit::Open { retry: after(now, pause), openings }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::seconds_after;

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn failing(jobs: &[&str]) -> Circuit {
        let fail = |circuit: Circuit, job: &&str| circuit.after(Trial::Failed, &Uid::from(*job), start());
        jobs.iter().fold(Circuit::default(), fail)
    }

    #[test]
    fn five_failures_in_a_row_open_it_unless_one_job_is_to_blame() {
        assert!(!failing(&["a", "b", "c", "d"]).is_open());
        assert!(failing(&["a", "a", "a", "a", "b"]).is_open());
        assert!(!failing(&["a"; 50]).is_open());
        let worked = failing(&["a", "b", "c", "d"]).after(Trial::Worked, &"e".into(), start());
        assert_eq!(worked, Circuit::default(), "no longer in a row");
    }

    #[test]
    fn one_probe_runs_at_a_time_and_one_that_works_closes_it() {
        let open = failing(&["a", "b", "c", "d", "e"]);
        assert_eq!(open.room(0, seconds_after(start(), 29)), 0);
        let later = seconds_after(start(), 30);
        assert_eq!((open.room(0, later), open.room(1, later)), (1, 0));
        let late = open.clone().after(Trial::Failed, &"f".into(), seconds_after(start(), 29));
        assert_eq!(late, open, "it began before");
        let again = open.after(Trial::Failed, &"f".into(), later);
        assert_eq!(again, Circuit::Open { retry: seconds_after(later, 60), openings: 2 });
        assert!(!again.after(Trial::Worked, &"f".into(), later).is_open());
    }

    proptest! {
        #[test]
        fn pauses_stay_bounded_and_what_is_stored_comes_back(probes in 0..100_i32) {
            let mut circuit = failing(&["a", "b", "c", "d", "e"]);
            let mut now = start();
            for _ in 0..probes {
                now = circuit.pause_ends(now).unwrap();
                circuit = circuit.after(Trial::Failed, &"f".into(), now);
            }
            let pause = circuit.pause_ends(now).unwrap().duration_since(now);
            prop_assert!(pause >= FIRST_PAUSE && pause <= LONGEST_PAUSE, "{pause}");
            prop_assert_eq!(Circuit::stored(circuit.to_store().as_ref()), circuit);
        }
    }
}
