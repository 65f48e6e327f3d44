//! When a delivery that failed is tried again.

use k8s_openapi::jiff::SignedDuration;

/// By which part a delay is shortened at most: receivers that were away are not all called at the same time.
const JITTER: f64 = 0.25;

/// How long to wait after each attempt that failed; after the last of them the delivery is given up.
#[derive(Clone, Debug)]
pub(super) struct Schedule(Vec<u32>);

impl Schedule {
    /// Waits of so many seconds.
    pub(super) fn new(seconds: Vec<u32>) -> Self {
        Self(seconds)
    }

    /// How long to wait after so many attempts, the first being 1; `None` where there is no further one. `chance`, from 0 to 1, draws the jitter.
    pub(super) fn wait(&self, attempts: i32, chance: f64) -> Option<SignedDuration> {
        let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
        let seconds = f64::from(*self.0.get(index)?);
        SignedDuration::try_from_secs_f64(seconds * (1.0 - JITTER * chance.clamp(0.0, 1.0))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::WebhookSettings;

    #[test]
    fn waits_grow_until_the_delivery_is_given_up_within_a_day() {
        let schedule = Schedule::new(WebhookSettings::default().retry_seconds);
        let waits: Vec<_> = (1..).map_while(|attempts| schedule.wait(attempts, 0.0)).collect();
        assert_eq!(waits.len(), 7);
        assert!(waits.windows(2).all(|pair| pair[1] >= pair[0] * 2), "{waits:?}");
        // For so long the operator keeps a job that is to be deleted.
        assert!(waits.iter().sum::<SignedDuration>() < SignedDuration::from_hours(24));
        assert_eq!(schedule.wait(0, 0.0), None);
        assert_eq!(schedule.wait(8, 0.0), None);
    }

    #[test]
    fn chance_shortens_a_wait_by_a_quarter_at_most() {
        let schedule = Schedule::new(vec![100]);
        assert_eq!(schedule.wait(1, 0.0), Some(SignedDuration::from_secs(100)));
        assert_eq!(schedule.wait(1, 1.0), Some(SignedDuration::from_secs(75)));
    }
}
