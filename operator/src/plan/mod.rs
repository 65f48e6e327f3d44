//! What is to be done, decided from what was observed. Pure: no clock, no network.

mod backoff;
mod choice;
mod circuit;
mod job;
mod scale;
#[cfg(test)]
mod tests;

pub(crate) use backoff::{crash_delay, doubled, retry_delay};
pub(crate) use choice::{NoPool, choose};
pub(crate) use circuit::{Circuit, Trial};
pub(crate) use job::{Fate, Held, Situation, job, says_the_same};
pub(crate) use scale::{Census, Scale, scale};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use trellis_crds::{Attempt, JobError};

use crate::key::{Key, Uid};

/// What is to be done about one job now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// It ended: nothing will be written any more, unless somebody changes it.
    Settled,
    /// Nothing now. Look again at `until`, or when something changes.
    Idle { until: Option<Timestamp> },
    /// It may be assigned as soon as a worker of its pool is idle.
    Queue { until: Option<Timestamp> },
    /// Write why it waits, and when it will presumably be done where nothing says so yet. It may be assigned all the same, where it has a pool.
    Explain { waiting: Waiting, done_in: Option<SignedDuration> },
    /// Write that a change of the specification was seen.
    Acknowledge,
    /// Give it to an idle worker.
    Assign(Seat),
    /// The attempt ended through no fault of the job: back to the queue.
    Requeue { attempt: Attempt, reason: &'static str },
    /// The attempt failed: another one after a delay.
    Retry { attempt: Attempt },
    /// It failed for good; `attempt` where one ended just now.
    Fail { attempt: Option<Attempt>, error: JobError, reason: &'static str },
    /// Hold it back, as its specification asks; `attempt` is the one that this ends.
    Suspend { attempt: Option<Attempt> },
    /// End it, as its specification asks; `attempt` is the one that this ends.
    Cancel { attempt: Option<Attempt> },
    /// Label it as failed for good.
    DeadLetter,
    /// Try it again, as its label asks, though it failed for good.
    Revive,
    /// Take that label away.
    Unlabel,
    /// Delete it: its time to live is over.
    Delete,
}

impl Decision {
    /// The decision's name in metrics and logs.
    pub(crate) fn metric_label(&self) -> &'static str {
        match self {
            Decision::Settled => "settled",
            Decision::Idle { .. } => "idle",
            Decision::Queue { .. } => "queue",
            Decision::Explain { .. } => "explain",
            Decision::Acknowledge => "acknowledge",
            Decision::Assign(_) => "assign",
            Decision::Requeue { .. } => "requeue",
            Decision::Retry { .. } => "retry",
            Decision::Fail { .. } => "fail",
            Decision::Suspend { .. } => "suspend",
            Decision::Cancel { .. } => "cancel",
            Decision::DeadLetter => "dead_letter",
            Decision::Revive => "revive",
            Decision::Unlabel => "unlabel",
            Decision::Delete => "delete",
        }
    }

    /// The attempt that this decision ends.
    pub(crate) fn ended_attempt(&self) -> Option<&Attempt> {
        match self {
            Decision::Requeue { attempt, .. } | Decision::Retry { attempt } => Some(attempt),
            Decision::Fail { attempt, .. } | Decision::Suspend { attempt } | Decision::Cancel { attempt } => {
                attempt.as_ref()
            }
            _ => None,
        }
    }
}

/// An idle worker that a job is given to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seat {
    pub(crate) pool: Key,
    pub(crate) worker: String,
    pub(crate) uid: Uid,
    /// When it is given, and to how many jobs together: by both a batch is known.
    pub(crate) time: Timestamp,
    pub(crate) batch: usize,
    /// How long such a job runs there as a rule.
    pub(crate) done_in: Option<SignedDuration>,
}

/// Why a job waits, for the condition `Scheduled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}
