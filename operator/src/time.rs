//! The operator's clock, and arithmetic with points in time that cannot fail.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// How far the clock may be off before it is set right. The API server tells its time in whole seconds, and its answers take a moment.
const SLACK: SignedDuration = SignedDuration::from_secs(2);
/// By which part of the time that passes the clock is at most set right.
const SLEW: i32 = 10;
/// From which error on somebody should know.
const ALARM: SignedDuration = SignedDuration::from_mins(1);

/// The time that all decisions go by: the API server's, which all replicas share and which stamps what is created. It never goes back and
/// never jumps. Where the API server's jumps, it follows by a tenth of the time that passes: no deadline is off by more than that, and no
/// job fails because somebody set a clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<Reading>>);

impl Clock {
    /// A clock that shows this machine's time until it hears another.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Reading::new(Timestamp::now(), Instant::now()))))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at(Instant::now())
    }

    /// Takes in what time it is by the API server.
    pub(crate) fn steer(&self, server: Timestamp) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = reading.error.abs();
        reading.steer(server, Instant::now());
        if reading.error.abs() > ALARM && before <= ALARM {
            let error = reading.error;
            tracing::warn!(%error, "the API server's time jumped; following slowly");
        }
    }
}

/// What the clock showed, and how it goes on.
#[derive(Debug)]
pub(crate) struct Reading {
    time: Timestamp,
    at: Instant,
    /// What the clock lags behind.
    error: SignedDuration,
    /// The API server was heard.
    is_set: bool,
}

impl Reading {
    pub(crate) fn new(time: Timestamp, at: Instant) -> Self {
        Self { time, at, error: SignedDuration::ZERO, is_set: false }
    }

    /// What the clock shows at a later instant.
    pub(crate) fn at(&self, instant: Instant) -> Timestamp {
        let elapsed = instant.saturating_duration_since(self.at);
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        let most = elapsed / SLEW;
        after(self.time, elapsed.saturating_add(self.error.clamp(-most, most)))
    }

    /// Takes in what time it is by the API server. A wrong clock is set at once the first time: nothing was decided by it.
    pub(crate) fn steer(&mut self, server: Timestamp, instant: Instant) {
        let shown = self.at(instant);
        let error = server.duration_since(shown);
        let (time, error) = match error.abs() > SLACK {
            true if self.is_set => (shown, error),
            true => (server, SignedDuration::ZERO),
            false => (shown, SignedDuration::ZERO),
        };
        *self = Self { time, at: instant, error, is_set: true };
    }
}

/// `time` plus `duration`, or the end of time.
pub(crate) fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `time` plus `seconds`, or the end of time.
pub(crate) fn seconds_after(time: Timestamp, seconds: i32) -> Timestamp {
    after(time, SignedDuration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Steps of the time that passes, in milliseconds, and what the API server's clock jumps by in each, in seconds.
        #[test]
        fn the_clock_never_jumps_and_never_goes_back(
            steps in prop::collection::vec((0..100_000_u64, -100_000..100_000_i64), 1..20),
        ) {
            let (mut server, mut instant) = (Timestamp::UNIX_EPOCH, Instant::now());
            let mut clock = Reading::new("2026-01-01T00:00:00Z".parse().unwrap(), instant);
            clock.steer(server, instant);
            let mut shown = clock.at(instant);
            prop_assert_eq!(shown, server, "before anything was decided");
            for (passed, jump) in steps {
                instant += Duration::from_millis(passed);
                let passed = SignedDuration::from_millis(i64::try_from(passed).unwrap());
                server = after(after(server, passed), SignedDuration::from_secs(jump));
                let now = clock.at(instant);
                clock.steer(server, instant);
                prop_assert_eq!(clock.at(instant), now, "it jumped");
                let shown_passed = now.duration_since(shown);
                prop_assert!((shown_passed - passed).abs() <= passed / SLEW, "{} for {}", shown_passed, passed);
                shown = now;
            }
        }
    }

    #[test]
    fn a_clock_that_is_right_keeps_its_fractions_of_a_second() {
        let instant = Instant::now();
        let precise = "2026-01-01T00:00:00.7Z".parse().unwrap();
        let mut clock = Reading::new(precise, instant);
        clock.steer("2026-01-01T00:00:00Z".parse().unwrap(), instant);
        assert_eq!(clock.at(instant), precise);
    }

    #[test]
    fn in_the_end_the_clock_shows_the_servers_time() {
        let (mut server, mut instant) = (Timestamp::UNIX_EPOCH, Instant::now());
        let mut clock = Reading::new(server, instant);
        clock.steer(server, instant);
        server = seconds_after(server, 3600);
        for _ in 0..11 * 60 {
            clock.steer(server, instant);
            instant += Duration::from_secs(60);
            server = seconds_after(server, 60);
        }
        assert!(server.duration_since(clock.at(instant)).abs() <= SLACK);
    }
}
