//! Whether the worker still sees the jobs that it is given.

use std::time::{Duration, Instant};

/// Failures of a watch further apart than this are not one outage: a watch that goes on where it was says nothing of it, and one that
/// fails is tried again within half a minute.
const APART: Duration = Duration::from_secs(90);

/// The failures of a watch, for as long as it has failed.
#[derive(Debug, Default)]
pub(crate) struct Outage(Option<Failing>);

#[derive(Debug)]
struct Failing {
    since: Instant,
    last: Instant,
}

impl Outage {
    /// The watch failed; for how long it has.
    pub(crate) fn failed(&mut self, now: Instant) -> Duration {
        let known = self.0.take().filter(|failing| now.duration_since(failing.last) < APART);
        let since = known.map_or(now, |failing| failing.since);
        self.0 = Some(Failing { since, last: now });
        now.duration_since(since)
    }

    /// The watch has told something.
    pub(crate) fn over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_the_watch_tells_something() {
        let start = Instant::now();
        let mut outage = Outage::default();
        let mut failed = |second| outage.failed(start + Duration::from_secs(second)).as_secs();
        assert_eq!((failed(0), failed(20), failed(45)), (0, 20, 45));
        outage.over();
        assert_eq!(outage.failed(start + Duration::from_secs(50)), Duration::ZERO);
    }

    #[test]
    fn failures_that_lie_far_apart_are_no_outage() {
        let start = Instant::now();
        let mut outage = Outage::default();
        outage.failed(start);
        assert_eq!(outage.failed(start + 2 * APART), Duration::ZERO);
    }
}
