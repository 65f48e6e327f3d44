//! Scenarios: how many requests come in a second, and when; and whether the answers were good enough.

use std::fmt;
use std::time::Duration;

use super::Tally;

/// A part of a scenario: within so many seconds the rate goes evenly to so many requests a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    seconds: f64,
    rate: f64,
}

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Few requests, of a sudden ten times as many, and few again.
    Spike,
    /// More and more requests, and then so many for a while.
    Ramp,
    /// Half as many, for a long time.
    Soak,
}

impl Scenario {
    /// The stages, of which the highest comes to `peak` requests a second. A soak lasts `soak`.
    pub fn stages(self, peak: f64, soak: Duration) -> Vec<Stage> {
        let stage = |seconds, rate| Stage { seconds, rate };
        match self {
            Self::Spike => vec![
                stage(0.0, peak / 10.0),
                stage(10.0, peak / 10.0),
                stage(0.0, peak),
                stage(10.0, peak),
                stage(0.0, peak / 10.0),
                stage(10.0, peak / 10.0),
            ],
            Self::Ramp => vec![stage(30.0, peak), stage(10.0, peak)],
            Self::Soak => vec![stage(5.0, peak / 2.0), stage(soak.as_secs_f64(), peak / 2.0)],
        }
    }
}

/// When each request is due.
pub fn schedule(stages: Vec<Stage>) -> impl Iterator<Item = Duration> {
    let (mut begin, mut from, mut sent) = (0.0, 0.0, 0.0);
    stages.into_iter().flat_map(move |stage| {
        // The requests that are due up to a time within the stage are the area below the rate, which is a line.
        let due: Vec<Duration> = (1..)
            .map_while(|number| time_of(f64::from(number) - sent, from, stage))
            .map(|time| Duration::from_secs_f64(begin + time))
            .collect();
        let area = (from + stage.rate) / 2.0 * stage.seconds;
        sent = (sent + area).fract();
        begin += stage.seconds;
        from = stage.rate;
        due
    })
}

/// When, in a stage whose rate begins with `from`, the area below its rate has come to `area`; `None` where it never does.
fn time_of(area: f64, from: f64, stage: Stage) -> Option<f64> {
    let whole = (from + stage.rate) / 2.0 * stage.seconds;
    if area > whole || whole <= 0.0 {
        return None;
    }
    let slope = (stage.rate - from) / stage.seconds;
    let time = if slope.abs() < 1e-9 {
        area / from
    } else {
        ((from * from + 2.0 * slope * area).max(0.0).sqrt() - from) / slope
    };
    Some(time.clamp(0.0, stage.seconds))
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It reads a status, a job or a list.
    Read,
    /// It submits a job.
    Submit,
}

impl Kind {
    /// Every kind, in the order of their tallies.
    pub const ALL: [Self; 2] = [Self::Read, Self::Submit];

    /// What the request of this number does, where every so many submit.
    pub fn of(number: u64, every: u64) -> Self {
        if number.is_multiple_of(every) { Self::Submit } else { Self::Read }
    }
}

/// What is good enough.
#[derive(Debug, Clone, clap::Args)]
pub struct Limits {
    /// The part of the requests that may fail.
    #[arg(long, default_value_t = 0.001)]
    errors: f64,
    /// The time within which 99 of 100 reads are to be answered, in ms.
    #[arg(long, default_value_t = 100.0)]
    reads_p99_ms: f64,
    /// The time within which 99 of 100 submissions are to be answered, in ms.
    #[arg(long, default_value_t = 1000.0)]
    submits_p99_ms: f64,
}

/// What came of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// What was played.
    pub scenario: Scenario,
    /// What came of the requests of each kind.
    pub tallies: [Tally; Kind::ALL.len()],
}

impl Outcome {
    /// What is not good enough.
    pub fn faults(&self, limits: &Limits) -> Vec<String> {
        let longest = |kind| match kind {
            Kind::Read => limits.reads_p99_ms,
            Kind::Submit => limits.submits_p99_ms,
        };
        let mut faults = Vec::new();
        for (kind, tally) in Kind::ALL.into_iter().zip(&self.tallies) {
            let (errors, p99) = (tally.errors(), tally.milliseconds(0.99));
            if errors > limits.errors {
                let (errors, limit) = (errors * 100.0, limits.errors * 100.0);
                let why = tally.complaints();
                faults.push(format!("{self}: {errors:.2} % of {kind:?} failed, more than {limit} %: {why}"));
            }
            if p99 > longest(kind) {
                let limit = longest(kind);
                faults.push(format!("{self}: p99 of {kind:?} is {p99:.0} ms, longer than {limit:.0} ms"));
            }
        }
        faults
    }

    /// The rows of the table.
    pub fn rows(&self) -> String {
        let row = |(kind, tally): (Kind, &Tally)| {
            let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|part| tally.milliseconds(part));
            let (count, errors) = (tally.count(), tally.errors() * 100.0);
            format!("| {self} | {kind:?} | {count} | {errors:.2} % | {p50:.1} | {p99:.1} | {worst:.1} |\n")
        };
        Kind::ALL.into_iter().zip(&self.tallies).map(row).collect()
    }

    /// The head of the table.
    pub const HEAD: &str =
        "| scenario | requests | | failed | p50 ms | p99 ms | longest ms |\n|---|---|---|---|---|---|---|\n";
}

impl fmt::Display for Outcome {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?}", self.scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(stages: &[(f64, f64)]) -> Vec<f64> {
        let stages = stages.iter().map(|&(seconds, rate)| Stage { seconds, rate }).collect();
        schedule(stages).map(|time| time.as_secs_f64()).collect()
    }

    #[test]
    fn requests_are_due_as_often_as_the_rate_says() {
        let even = times(&[(0.0, 4.0), (1.0, 4.0)]);
        assert_eq!(even, [0.25, 0.5, 0.75, 1.0]);
        let ramp = times(&[(2.0, 8.0)]);
        assert_eq!(ramp.len(), 8);
        assert!(
            ramp.is_sorted() && (ramp[1] - 1.0).abs() < 1e-9,
            "a quarter of them in the first half: {ramp:?}"
        );
        // What is left of a request when a stage ends is part of the next one's first.
        assert_eq!(times(&[(0.0, 1.0), (0.5, 1.0), (0.5, 1.0)]), [1.0]);
    }

    #[test]
    fn a_spike_is_ten_times_as_much_for_a_third_of_the_time() {
        let stages = Scenario::Spike.stages(100.0, Duration::ZERO);
        let due: Vec<f64> = schedule(stages).map(|time| time.as_secs_f64()).collect();
        let within = |from: f64, to: f64| due.iter().filter(|time| **time > from && **time <= to).count();
        assert_eq!([within(0.0, 10.0), within(10.0, 20.0), within(20.0, 30.0)], [100, 1000, 100]);
    }

    #[test]
    fn what_is_not_good_enough_is_named() {
        let limits = Limits { errors: 0.1, reads_p99_ms: 10.0, submits_p99_ms: 100.0 };
        let mut read = Tally::default();
        read.add(&Ok(200), Duration::from_millis(50));
        let mut submit = Tally::default();
        submit.add(&Ok(503), Duration::from_millis(50));
        let outcome = Outcome { scenario: Scenario::Ramp, tallies: [read, submit] };
        let faults = outcome.faults(&limits);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("p99 of Read is 50 ms") && faults[1].contains("1 × 503"), "{faults:?}");
    }
}
