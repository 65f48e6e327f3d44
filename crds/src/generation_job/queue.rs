//! The order in which jobs wait.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How much older a job may be for each step of priority that it has less, and still come later.
const STEP: SignedDuration = SignedDuration::from_mins(1);

/// Since when a job waits, as far as its place in its queue goes: from its creation, as if each step of priority made it a minute older. So it waits
/// no longer than its priority says, whatever comes after it, and places need no change while time passes. Equal ones are in the order of
/// creation, then by name.
pub fn queued_since(created: Timestamp, priority: i32) -> Timestamp {
    let end = if priority < 0 { Timestamp::MAX } else { Timestamp::MIN };
    created.checked_sub(STEP * priority).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_priority_is_worth_a_minute() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(queued_since(at(100), 2) < queued_since(at(0), 0));
        assert!(queued_since(at(121), 2) > queued_since(at(0), 0));
        assert_eq!(queued_since(at(60), 1), queued_since(at(0), 0));
        assert_eq!(queued_since(Timestamp::MIN, 1), Timestamp::MIN);
        assert_eq!(queued_since(Timestamp::MAX, -1), Timestamp::MAX);
    }
}
