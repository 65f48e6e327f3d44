//! How many workers a pool is to have.

use std::collections::BTreeSet;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

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
    /// The others of those that start, the latest first, as far as their pods are there.
    pub(crate) coming: Vec<Uid>,
    /// Idle workers, the longest idle first.
    pub(crate) idle: &'a BTreeSet<(Timestamp, Uid)>,
    /// Of the idle and busy workers, those that were built from an older template.
    pub(crate) outdated: &'a BTreeSet<Uid>,
    /// How long jobs of the pool usually run.
    pub(crate) run: Option<SignedDuration>,
    /// How long workers of the pool usually take until they are ready.
    pub(crate) start: Option<SignedDuration>,
    /// No worker is made before, because the last ones ended at their start or were refused.
    pub(crate) hold_until: Option<Timestamp>,
}

/// How many of `jobs` must run at once so that none waits for longer than `wait`: each worker begins one, and as many more as end within
/// that time.
fn jobs_at_once(jobs: usize, run: SignedDuration, wait: SignedDuration) -> usize {
    let each = 1.0 + wait.as_secs_f64() / run.as_secs_f64().max(0.001);
    (jobs as f64 / each).ceil() as usize
}

/// What is to change.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scale {
    /// How many workers to make.
    pub(crate) create: usize,
    /// Workers to delete. They get no job any more.
    pub(crate) delete: Vec<Uid>,
    /// When to look again though nothing happens.
    pub(crate) until: Option<Timestamp>,
}

impl Census<'_> {
    /// Workers that run jobs or will.
    pub(crate) fn alive(&self) -> usize {
        self.starting + self.ready()
    }

    fn ready(&self) -> usize {
        self.idle.len() + self.busy
    }

    /// Workers of the present template that are ready.
    fn current(&self) -> usize {
        self.ready().saturating_sub(self.outdated.len())
    }

    /// How many workers the pool should have for its work: between min and max, one a job, or a batch of them, or as many as let no job wait for longer
    /// than it may, and none that would come too late.
    pub(crate) fn wanted(&self, pool: &Pool) -> usize {
        let batches = self.queued.div_ceil(pool.batch_size());
        let jobs = self.busy + batches;
        let wanted = self.run.map_or(jobs, |run| jobs_at_once(jobs, run, pool.target_wait()));
        let wanted = if self.drains_before_others_start(batches) { wanted.min(self.alive()) } else { wanted };
        wanted.max(self.busy).min(pool.max()).max(pool.min().min(pool.max()))
    }

    /// Whether the workers that are ready have taken the last job of the queue before one that is made now would be ready.
    fn drains_before_others_start(&self, batches: usize) -> bool {
        let (Some(run), Some(start)) = (self.run, self.start) else { return false };
        let (queued, ready) = (batches as f64, self.ready() as f64);
        self.ready() > 0 && queued * run.as_secs_f64() <= ready * start.as_secs_f64()
    }
}

/// How many workers there are to be.
#[derive(Clone, Copy, Debug)]
struct Target {
    wanted: usize,
    /// Beyond `wanted`, those that are to take the places of outdated ones.
    overlap: usize,
    /// The most there may be.
    limit: usize,
}

impl Target {
    fn of(pool: &Pool, census: &Census<'_>) -> Self {
        let wanted = census.wanted(pool);
        let current = census.current();
        let missing = census.outdated.len().min(wanted.saturating_sub(current));
        // A quarter at a time.
        let overlap = missing.min(wanted.div_ceil(4)).min((pool.max() + pool.surge()).saturating_sub(wanted));
        // Old workers that are still busy when their successors are ready count too.
        Self { wanted, overlap, limit: pool.max() + pool.surge().min(census.outdated.len()) }
    }

    fn goal(self) -> usize {
        self.wanted + self.overlap
    }
}

/// Scales up at once, and down when a worker was idle for `idleSeconds`, or when there are more than `max`. Workers that run a job
/// never go; those that cannot start go first, before a cluster buys a node for them.
///
/// Workers of an older template are replaced by and by: new ones start beside them, and an old one goes when as many ready ones remain
/// as are wanted. A template whose workers never get ready so takes none away, but for one where there is no room beside them.
pub(crate) fn scale(pool: &Pool, census: &Census<'_>, now: Timestamp) -> Scale {
    let target = Target::of(pool, census);
    let alive = census.alive();
    let mut scale = leave(pool, census, target, now);
    let held = census.hold_until.filter(|time| now < *time);
    if alive >= target.goal() {
        if scale.delete.is_empty() && held.is_none() {
            scale.delete.extend(makes_room(census, target));
        }
        return scale;
    }
    match held {
        Some(time) => scale.until = scale.until.into_iter().chain([time]).min(),
        None => {
            // Those that end count until they are gone: their devices are not free before.
            let room = target.limit.saturating_sub(alive + census.draining);
            scale.create = room.min(target.goal() - alive);
        }
    }
    scale
}

/// Which workers go.
fn leave(pool: &Pool, census: &Census<'_>, target: Target, now: Timestamp) -> Scale {
    let alive = census.alive();
    let surplus = alive.saturating_sub(target.goal());
    let mut scale =
        Scale { delete: census.stuck.iter().take(surplus).cloned().collect(), ..Scale::default() };
    let too_many = alive.saturating_sub(target.limit + scale.delete.len());
    scale.delete.extend(census.coming.iter().take(too_many).cloned());
    // Those that start are not counted: they may never get ready.
    let spare = census.ready().saturating_sub(target.wanted);
    let mut at_once = census.ready().saturating_sub(target.limit);
    let is_outdated = |(_, worker): &&(Timestamp, Uid)| census.outdated.contains(worker);
    let outdated = census.idle.iter().filter(is_outdated).map(|(_, worker)| (now, worker));
    let current = census.idle.iter().filter(|idle| !is_outdated(idle));
    let current = current.map(|(since, worker)| (seconds_after(*since, pool.spec().idle_seconds), worker));
    for (end, worker) in outdated.chain(current).take(spare) {
        if at_once > 0 || now >= end {
            at_once = at_once.saturating_sub(1);
            scale.delete.push(worker.clone());
        } else {
            scale.until = Some(end);
            break;
        }
    }
    scale
}

/// The worker that goes first though none takes its place yet, because there may be none beside the outdated ones. One at a time, and
/// none before the last one's successor is ready.
fn makes_room(census: &Census<'_>, target: Target) -> Option<Uid> {
    let under_way = census.starting + census.draining;
    let blocked = target.overlap == 0 && census.current() < target.wanted && under_way == 0;
    let mut idle = census.idle.iter().filter(|_| blocked);
    idle.find(|(_, worker)| census.outdated.contains(worker)).map(|(_, worker)| worker.clone())
}
