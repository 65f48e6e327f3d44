//! The times of the protocol.

use std::time::Duration;

/// How long things may take, and how often they are done. The default is the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// When the first progress of an attempt is written. A shorter job has none written, which would cost more than it tells.
    pub first_progress: Duration,
    /// How far apart later progress is written, at least.
    pub next_progress: Duration,
    /// How long a write of progress is tried.
    pub progress_patience: Duration,
    /// How long the worker waits for the rest of the jobs that were assigned together. One of them may be cancelled before it is seen.
    pub gathering: Duration,
    /// How long a record of a failed attempt may take to be kept.
    pub record: Duration,
    /// How long one call of the API server may take.
    pub call: Duration,
    /// The pause before a failed write is made again; each following one is twice as long.
    pub first_pause: Duration,
    /// The longest of these pauses.
    pub longest_pause: Duration,
    /// How long writes that are forbidden are made again. Rights that an upgrade takes away for a moment come back.
    pub forbidden_patience: Duration,
    /// How long a job may still complete after the pod was told to end.
    pub grace: Duration,
    /// How long attempts may take to end after that.
    pub farewell: Duration,
    /// How long one watch request may last, in whole seconds. A connection that died silently is noticed little later.
    pub watch: Duration,
    /// After how long a failing watch makes the worker unready: it would not see the jobs that it is given.
    pub blindness: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            first_progress: seconds(5),
            next_progress: seconds(10),
            progress_patience: seconds(3),
            gathering: Duration::from_millis(300),
            record: seconds(3),
            call: seconds(10),
            first_pause: Duration::from_millis(100),
            longest_pause: seconds(5),
            forbidden_patience: seconds(600),
            grace: seconds(1),
            farewell: seconds(20),
            watch: seconds(60),
            blindness: seconds(30),
        }
    }
}
