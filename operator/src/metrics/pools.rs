//! Which pools have series of their own.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::key::Key;

/// How many pools have series of their own.
pub(super) const MOST_POOLS: usize = 200;

/// Names the pools that have series of their own, the first [`MOST_POOLS`]: whoever may create pools must not fill the memory of
/// Prometheus.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools(Arc<Mutex<HashSet<Key>>>);

impl Pools {
    pub(super) fn label(&self, pool: &Key) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(pool) {
            if known.len() >= MOST_POOLS {
                return None;
            }
            known.insert(pool.clone());
        }
        Some(pool.to_string())
    }

    pub(super) fn forget(&self, pool: &Key) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(pool).then(|| pool.to_string())
    }
}
