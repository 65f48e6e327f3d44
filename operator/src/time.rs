//! Arithmetic with points in time that cannot fail.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// `time` plus `duration`, or the end of time.
pub(crate) fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `time` plus `seconds`, or the end of time.
pub(crate) fn seconds_after(time: Timestamp, seconds: i32) -> Timestamp {
    after(time, SignedDuration::from_secs(seconds.into()))
}
