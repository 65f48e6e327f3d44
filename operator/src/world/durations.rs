//! How long things take.

use std::collections::VecDeque;

use k8s_openapi::jiff::SignedDuration;

/// How many durations are remembered.
const KEPT: usize = 64;

/// The last durations of one kind, and the usual one.
#[derive(Debug, Default)]
pub(super) struct Durations {
    last: VecDeque<SignedDuration>,
    median: Option<SignedDuration>,
}

impl Durations {
    /// Something took so long. What clocks make of less than nothing is not noted.
    pub(super) fn note(&mut self, took: SignedDuration) {
        if took.is_negative() {
            return;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(took);
        let mut sorted: Vec<_> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        self.median = sorted.get(sorted.len() / 2).copied();
    }

    /// The median of the last ones; `None` where nothing was noted yet.
    pub(super) fn median(&self) -> Option<SignedDuration> {
        self.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_last_ones_and_no_outlier_moves_it_far() {
        let seconds = SignedDuration::from_secs;
        let mut durations = Durations::default();
        assert_eq!(durations.median(), None);
        (0..100).for_each(|_| durations.note(seconds(900)));
        (0..64).for_each(|n| durations.note(seconds(10 + n % 3)));
        durations.note(seconds(-5));
        durations.note(seconds(100_000));
        assert_eq!(durations.median(), Some(seconds(11)));
    }
}
