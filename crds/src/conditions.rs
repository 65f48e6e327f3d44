//! Conditions: their types and reasons, and how to set one without touching what has not changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// A job: the specification is valid and the job will be tried.
pub const ACCEPTED: &str = "Accepted";
/// A job: a worker is assigned.
pub const SCHEDULED: &str = "Scheduled";
/// A job: the asset is there. A pool: it has a worker that is ready.
pub const READY: &str = "Ready";
/// Work towards `Ready` is going on (kstatus: "in progress").
pub const RECONCILING: &str = "Reconciling";
/// It will not become `Ready` without somebody's help (kstatus: "failed").
pub const STALLED: &str = "Stalled";
/// A job: `spec.suspend` holds it back.
pub const SUSPENDED: &str = "Suspended";

/// Reasons of conditions. One word each; the condition's message says the rest.
pub mod reason {
    /// The specification is valid.
    pub const VALID: &str = "Valid";
    /// A worker is assigned.
    pub const ASSIGNED: &str = "Assigned";
    /// The pool's workers are all busy.
    pub const NO_IDLE_WORKER: &str = "NoIdleWorker";
    /// No pool serves this job.
    pub const NO_POOL: &str = "NoPool";
    /// The pool's workers are starting.
    pub const POOL_STARTING: &str = "PoolStarting";
    /// The pool's workers wait for a quota system to admit them.
    pub const WAITING_FOR_QUOTA: &str = "WaitingForQuota";
    /// The pool's workers failed one after another: it takes one probing job at a time.
    pub const CIRCUIT_OPEN: &str = "CircuitOpen";
    /// Waiting for the next attempt after a failed one.
    pub const BACKING_OFF: &str = "BackingOff";
    /// The worker that had the job is gone: it goes to the next one at once.
    pub const WORKER_LOST: &str = "WorkerLost";
    /// The worker had another job already: the job goes to the next one at once.
    pub const WORKER_TAKEN: &str = "WorkerTaken";
    /// The worker handed the job back because its pod is to end.
    pub const HANDED_BACK: &str = "HandedBack";
    /// Somebody had the job tried again after it failed for good.
    pub const RETRIED: &str = "Retried";
    /// A worker runs the job.
    pub const PROCESSING: &str = "Processing";
    /// The job waits for a worker.
    pub const PENDING: &str = "Pending";
    /// The asset is there.
    pub const COMPLETED: &str = "Completed";
    /// The input cannot become an asset, however often it is tried.
    pub const INVALID_INPUT: &str = "InvalidInput";
    /// `spec.backoffLimit` is used up.
    pub const OUT_OF_RETRIES: &str = "OutOfRetries";
    /// One of `spec.deadlines` passed.
    pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
    /// `spec.cancel` ended the job.
    pub const CANCELLED: &str = "Cancelled";
    /// `spec.suspend` holds the job back.
    pub const SUSPENDED: &str = "Suspended";
    /// `spec.suspend` was taken back.
    pub const RESUMED: &str = "Resumed";
    /// The pool has what it needs.
    pub const WORKERS_READY: &str = "WorkersReady";
    /// The pool's workers are of an older template and are being replaced.
    pub const REPLACING_WORKERS: &str = "ReplacingWorkers";
    /// The pool has no worker and needs none now.
    pub const SCALED_TO_ZERO: &str = "ScaledToZero";
    /// The API server or a quota refuses the pool's pods.
    pub const PODS_REFUSED: &str = "PodsRefused";
    /// The pool's pods cannot be placed or started.
    pub const PODS_NOT_STARTING: &str = "PodsNotStarting";
    /// The pool's workers cannot download or load the model.
    pub const MODEL_NOT_LOADED: &str = "ModelNotLoaded";
}

/// The condition of the type `kind`, where there is one.
pub fn get<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Whether the condition of the type `kind` is there and `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    get(conditions, kind).is_some_and(|c| c.status == "True")
}

/// What [`set`] writes into a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewCondition<'a> {
    /// The condition's type, such as [`READY`].
    pub kind: &'a str,
    /// Whether it holds.
    pub holds: bool,
    /// One of [`reason`].
    pub reason: &'a str,
    /// For people: what is so, and what to do where something is to be done.
    pub message: &'a str,
    /// The `metadata.generation` it was computed from.
    pub observed_generation: Option<i64>,
}

/// Sets a condition and says whether that changed anything. `lastTransitionTime` becomes `now` only where the status
/// changes, as the Kubernetes API conventions ask; so a settled object compares equal and costs no write.
pub fn set(conditions: &mut Vec<Condition>, new: NewCondition<'_>, now: Timestamp) -> bool {
    let status = if new.holds { "True" } else { "False" };
    let old = conditions.iter().position(|c| c.type_ == new.kind);
    let last_transition_time = match old.and_then(|i| conditions.get(i)) {
        Some(old) if old.status == status => old.last_transition_time.clone(),
        _ => Time(now),
    };
    let condition = Condition {
        type_: new.kind.to_owned(),
        status: status.to_owned(),
        reason: new.reason.to_owned(),
        message: new.message.to_owned(),
        observed_generation: new.observed_generation,
        last_transition_time,
    };
    match old.and_then(|i| conditions.get_mut(i)) {
        Some(slot) if *slot == condition => false,
        Some(slot) => {
            *slot = condition;
            true
        }
        None => {
            conditions.push(condition);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(holds: bool, message: &str) -> NewCondition<'_> {
        NewCondition { kind: READY, holds, reason: reason::PENDING, message, observed_generation: Some(1) }
    }

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, ready(false, "waits"), second(1)));
        assert!(set(&mut conditions, ready(false, "still waits"), second(2)));
        assert_eq!(get(&conditions, READY).unwrap().last_transition_time, Time(second(1)));
        assert!(set(&mut conditions, ready(true, "done"), second(3)));
        assert_eq!(get(&conditions, READY).unwrap().last_transition_time, Time(second(3)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn setting_the_same_again_changes_nothing() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(true, "done"), second(1));
        let before = conditions.clone();
        assert!(!set(&mut conditions, ready(true, "done"), second(9)));
        assert_eq!(conditions, before);
    }
}
