//! How many requests the API server gets at a time: fewer while it does not answer as it should.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::action::Applied;
use crate::plan::doubled;
use crate::time::after;

/// How many requests may be under way at once.
pub(crate) const MOST_IN_FLIGHT: usize = 64;
/// The pause before the next request where even one at a time is too many, doubled with every one that fails.
const PAUSE: SignedDuration = SignedDuration::from_millis(250);
const PAUSE_LONGEST: SignedDuration = SignedDuration::from_secs(16);

/// How much the API server takes at present. Each failure halves what it gets, each success gives one more, so that a server that
/// recovers has all of it again after as many answers. One that fails at single requests gets one after a pause that grows.
#[derive(Debug)]
pub(crate) struct Pressure {
    most: usize,
    /// How many single requests failed in a row.
    failures: u32,
    pause_ends: Timestamp,
}

impl Pressure {
    pub(crate) fn new() -> Self {
        Self { most: MOST_IN_FLIGHT, failures: 0, pause_ends: Timestamp::MIN }
    }

    /// How many requests may be under way.
    pub(crate) fn most(&self, now: Timestamp) -> usize {
        if now < self.pause_ends { 0 } else { self.most }
    }

    /// When requests may go out again, where none may now.
    pub(crate) fn pause_ends(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.pause_ends).filter(|end| now < *end)
    }

    /// Takes in how a request went.
    pub(crate) fn note(&mut self, applied: &Applied, now: Timestamp) {
        match applied.unanswered() {
            Some(unanswered) => self.failed(unanswered.retry_after, now),
            None => self.answered(),
        }
    }

    /// A request was answered.
    fn answered(&mut self) {
        self.most = MOST_IN_FLIGHT.min(self.most + 1);
        self.failures = 0;
    }

    /// A request was not answered as it should; `retry_after` is how long the API server asks to be left alone, zero where it does not.
    fn failed(&mut self, retry_after: SignedDuration, now: Timestamp) {
        let asked = after(now, retry_after.min(PAUSE_LONGEST));
        // Those that fail in a pause went out before it.
        if now >= self.pause_ends {
            self.slow_down(now);
        }
        self.pause_ends = self.pause_ends.max(asked);
    }

    fn slow_down(&mut self, now: Timestamp) {
        if self.most > 1 {
            self.most /= 2;
        } else {
            self.failures += 1;
            self.pause_ends = after(now, doubled(PAUSE, PAUSE_LONGEST, self.failures));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// How many requests of an endless supply an API server sees within the time that answers all of them so.
    fn requests(
        pressure: &mut Pressure,
        from: Timestamp,
        seconds: i64,
        fail: Option<SignedDuration>,
    ) -> usize {
        let mut now = from;
        let mut count = 0;
        while now < after(from, SignedDuration::from_secs(seconds)) {
            let room = pressure.most(now);
            // All of a round are answered a moment later.
            now = after(now, SignedDuration::from_millis(10));
            for _ in 0..room {
                match fail {
                    Some(retry_after) => pressure.failed(retry_after, now),
                    None => pressure.answered(),
                }
            }
            count += room;
        }
        count
    }

    #[test]
    fn a_server_that_fails_for_minutes_sees_few_requests_and_then_all_again() {
        for retry_after in [0, 1, 5] {
            let mut pressure = Pressure::new();
            let seen = requests(&mut pressure, start(), 180, Some(SignedDuration::from_secs(retry_after)));
            assert!(seen < 64 + 180, "{seen} requests in three minutes");
            let later = after(start(), SignedDuration::from_mins(4));
            let seen = requests(&mut pressure, later, 1, None);
            assert!(seen > 3000, "{seen} requests in the second after it recovered");
        }
    }

    #[test]
    fn one_request_that_fails_among_many_that_do_not_slows_nothing_down_for_long() {
        let mut pressure = Pressure::new();
        for _ in 0..100 {
            pressure.failed(SignedDuration::ZERO, start());
            (0..32).for_each(|_| pressure.answered());
        }
        assert!(pressure.most(start()) >= MOST_IN_FLIGHT / 2);
    }
}
