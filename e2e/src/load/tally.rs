//! What came of many requests.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The answers by status, and how long they took.
#[derive(Debug, Clone)]
pub struct Tally {
    statuses: BTreeMap<u16, u64>,
    /// Requests that got no answer, by why.
    failures: BTreeMap<String, u64>,
    /// In µs.
    times: Histogram<u64>,
    lasted: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        let times = Histogram::new(3).expect("three digits are a precision that there is");
        Self { statuses: BTreeMap::new(), failures: BTreeMap::new(), times, lasted: Duration::ZERO }
    }
}

impl Tally {
    /// Takes in what came of a request, and how long that took.
    pub fn add(&mut self, outcome: &anyhow::Result<u16>, took: Duration) {
        match outcome {
            Ok(status) => *self.statuses.entry(*status).or_default() += 1,
            Err(error) => *self.failures.entry(format!("{error:#}")).or_default() += 1,
        }
        // It grows where it must.
        let _ = self.times.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Takes in all of another one, of the same time.
    pub fn merge(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(failure.clone()).or_default() += count;
        }
        let _ = self.times.add(&other.times);
        self.lasted = self.lasted.max(other.lasted);
    }

    /// The same, for requests that were sent in so long a time.
    #[must_use]
    pub fn over(self, lasted: Duration) -> Self {
        Self { lasted, ..self }
    }

    /// How many requests there were.
    pub fn count(&self) -> u64 {
        self.times.len()
    }

    /// How many of them were answered as is wished.
    pub fn successes(&self) -> u64 {
        self.statuses.range(200..400).map(|(_, count)| count).sum()
    }

    /// How many were so answered in a second.
    pub fn per_second(&self) -> f64 {
        self.successes() as f64 / self.lasted.as_secs_f64().max(f64::EPSILON)
    }

    /// The part of the requests that were not answered as is wished.
    pub fn errors(&self) -> f64 {
        let failed = self.count() - self.successes();
        failed as f64 / self.count().max(1) as f64
    }

    /// The time within which this part of the requests was answered, in ms.
    pub fn milliseconds(&self, part: f64) -> f64 {
        self.times.value_at_quantile(part) as f64 / 1000.0
    }

    /// What came instead of success, in words.
    pub fn complaints(&self) -> String {
        let statuses = self.statuses.iter().filter(|(status, _)| !(200..400).contains(*status));
        let statuses = statuses.map(|(status, count)| format!("{count} × {status}"));
        let failures = self.failures.iter().map(|(failure, count)| format!("{count} × {failure}"));
        statuses.chain(failures).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_tells_successes_from_refusals_and_from_silence() {
        let mut tally = Tally::default();
        for outcome in [Ok(200), Ok(202), Ok(503), Err(anyhow::anyhow!("closed"))] {
            tally.add(&outcome, Duration::from_millis(2));
        }
        let mut other = Tally::default();
        other.add(&Ok(200), Duration::from_millis(100));
        tally.merge(&other);
        let tally = tally.over(Duration::from_secs(2));
        assert_eq!((tally.count(), tally.successes()), (5, 3));
        assert!((tally.per_second() - 1.5).abs() < 1e-9);
        assert!((tally.errors() - 0.4).abs() < 1e-9);
        assert!((tally.milliseconds(0.5) - 2.0).abs() < 0.01 && tally.milliseconds(0.99) > 99.0);
        assert_eq!(tally.complaints(), "1 × 503, 1 × closed");
    }
}
