//! How long to wait after failures.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::jiff::SignedDuration;

const FIRST: SignedDuration = SignedDuration::from_secs(5);
const LONGEST: SignedDuration = SignedDuration::from_mins(5);

/// How long a job that failed `failures` times waits for its next attempt: 5 s doubled with every failure, at most 5 min, less a
/// jitter of up to half. The jitter is drawn from the job's uid, so that every look at the job finds the same delay.
pub(crate) fn retry_delay(failures: i32, uid: &str) -> SignedDuration {
    let mut hasher = DefaultHasher::new();
    (uid, failures).hash(&mut hasher);
    let thousandths = 500 + i32::try_from(hasher.finish() % 501).unwrap_or(500);
    doubled(FIRST, LONGEST, u32::try_from(failures).unwrap_or(0)) * thousandths / 1000
}

/// How long a pool whose workers ended `crashes` times in a row before they were ready waits before it makes another:
/// 5 s doubled with every crash, at most 5 min.
pub(crate) fn crash_delay(crashes: u32) -> SignedDuration {
    doubled(FIRST, LONGEST, crashes)
}

/// `first`, doubled with each of `times` but the first, and at most `longest`.
pub(crate) fn doubled(first: SignedDuration, longest: SignedDuration, times: u32) -> SignedDuration {
    let exponent = times.saturating_sub(1).min(16);
    (first * (1 << exponent)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_stay_bounded_and_differ_between_jobs() {
        for failures in 1..40 {
            let delay = retry_delay(failures, "a");
            assert!(delay >= FIRST / 2 && delay <= LONGEST, "{failures}: {delay}");
            assert_eq!(delay, retry_delay(failures, "a"));
        }
        assert!(retry_delay(4, "a") > retry_delay(1, "a"));
        let many: std::collections::HashSet<_> =
            (0..50).map(|job| retry_delay(3, &job.to_string())).collect();
        assert!(many.len() > 25, "{many:?}");
    }
}
