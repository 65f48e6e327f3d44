//! Liveness and readiness of a process, set by its parts and read by the probes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Liveness and readiness of one process. Clones share their state.
///
/// A new one is live, and not ready because it is starting.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    not_ready: Option<String>,
    alive_until: Option<Instant>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { not_ready: Some("starting".into()), alive_until: None })))
    }
}

impl Health {
    /// Reports the process as able to do its work.
    pub fn set_ready(&self) {
        self.state().not_ready = None;
    }

    /// Reports the process as unable to do its work, with the reason that `/readyz` shows.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.state().not_ready = Some(reason.into());
    }

    /// Vouches for the process until `period` from now. Once called, it must be called again in time:
    /// a loop that hangs stops calling, and the kubelet restarts its container.
    pub fn keep_alive(&self, period: Duration) {
        self.state().alive_until = Instant::now().checked_add(period);
    }

    /// Whether the process is live: nobody vouched for it yet, or somebody's word still holds.
    pub fn is_live(&self) -> bool {
        self.state().alive_until.is_none_or(|end| Instant::now() < end)
    }

    /// `Ok` when ready, else the reason.
    pub fn ready(&self) -> Result<(), String> {
        self.state().not_ready.clone().map_or(Ok(()), Err)
    }

    /// Two plain fields hold no invariant that a panic between could break.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_not_ready_before_it_says_so() {
        let health = Health::default();
        assert_eq!(health.ready(), Err("starting".into()));
        health.set_ready();
        assert_eq!(health.clone().ready(), Ok(()));
        health.set_not_ready("watch lost");
        assert_eq!(health.ready(), Err("watch lost".into()));
    }

    #[test]
    fn liveness_ends_with_the_last_word_given() {
        let health = Health::default();
        assert!(health.is_live());
        health.keep_alive(Duration::ZERO);
        assert!(!health.is_live());
        health.keep_alive(Duration::from_secs(3600));
        assert!(health.is_live());
    }
}
