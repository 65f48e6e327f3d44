//! How many workers a pool is to have.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use crate::key::Uid;
use crate::time::seconds_after;
use crate::validate::Pool;

/// A pool's workers and what waits for them.
#[derive(Debug)]
pub(crate) struct Census<'a> {
    /// Workers that are not ready yet, those among them whose creation is under way.
    pub(crate) starting: usize,
    pub(crate) busy: usize,
    /// Workers that end and still hold their place.
    pub(crate) draining: usize,
    /// Jobs that could run now.
    pub(crate) queued: usize,
    /// Of those that start, the ones that cannot.
    pub(crate) stuck: Vec<Uid>,
    /// Idle workers, the longest idle first.
    pub(crate) idle: &'a BTreeSet<(Timestamp, Uid)>,
    /// No worker is made before, because the last ones ended at their start or were refused.
    pub(crate) hold_until: Option<Timestamp>,
}

/// What is to change.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scale {
    /// How many workers to make.
    pub(crate) create: usize,
    /// Workers to delete.
    pub(crate) delete: Vec<Uid>,
    /// When to look again though nothing happens.
    pub(crate) until: Option<Timestamp>,
}

impl Census<'_> {
    /// Workers that run jobs or will.
    pub(crate) fn alive(&self) -> usize {
        self.starting + self.idle.len() + self.busy
    }

    /// How many workers the pool should have for its work: between min and max, one a job.
    pub(crate) fn wanted(&self, pool: &Pool) -> usize {
        (self.busy + self.queued).min(pool.max()).max(pool.min().min(pool.max()))
    }
}

/// Scales up at once, and down when a worker was idle for `idleSeconds`, or when there are more than `max`. Workers that run a job
/// never go; those that cannot start go first, before a cluster buys a node for them.
pub(crate) fn scale(pool: &Pool, census: &Census<'_>, now: Timestamp) -> Scale {
    let wanted = census.wanted(pool);
    let alive = census.alive();
    if alive < wanted {
        // Those that end count until they are gone: their devices are not free before.
        let room = pool.max().saturating_sub(alive + census.draining);
        return match census.hold_until.filter(|time| now < *time) {
            Some(time) => Scale { until: Some(time), ..Scale::default() },
            None => Scale { create: room.min(wanted - alive), ..Scale::default() },
        };
    }
    let (surplus, too_many) = (alive - wanted, alive.saturating_sub(pool.max()));
    let delete: Vec<Uid> = census.stuck.iter().take(surplus).cloned().collect();
    let surplus = surplus - delete.len();
    let mut scale = Scale { delete, ..Scale::default() };
    for (since, worker) in census.idle.iter().take(surplus) {
        let end = seconds_after(*since, pool.spec().idle_seconds);
        if scale.delete.len() < too_many || now >= end {
            scale.delete.push(worker.clone());
        } else {
            scale.until = Some(end);
            break;
        }
    }
    scale
}
