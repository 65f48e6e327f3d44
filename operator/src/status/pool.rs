//! A pool's status.

use k8s_openapi::jiff::Timestamp;
use trellis_crds::conditions::{self, NewCondition, READY, RECONCILING, STALLED, reason};
use trellis_crds::{OpenCircuit, WorkerPoolStatus, labels};

use crate::plan::Waiting;
use crate::validate::Pool;

/// What a pool's status is computed from.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolFacts {
    pub(crate) starting: usize,
    pub(crate) idle: usize,
    pub(crate) busy: usize,
    pub(crate) draining: usize,
    pub(crate) queued: usize,
    /// How many workers the pool should have now.
    pub(crate) wanted: usize,
    /// Of the idle and busy ones, those of an older template.
    pub(crate) outdated: usize,
    /// Of those that start, how many a quota system has not admitted yet.
    pub(crate) gated: usize,
    /// Set while the circuit is open.
    pub(crate) circuit: Option<OpenCircuit>,
    /// Jobs wait because of it, or would.
    pub(crate) held_back: bool,
    /// Why workers cannot start.
    pub(crate) trouble: Option<Waiting>,
    /// They lack a node and nothing else, and may get it without anybody's help.
    pub(crate) waits_for_nodes: bool,
}

/// The status that follows from the facts. Equal to the present one where nothing changed.
pub(crate) fn pool(pool: &Pool, facts: &PoolFacts, now: Timestamp) -> WorkerPoolStatus {
    let name = &pool.identity.key.name;
    let mut status = WorkerPoolStatus {
        observed_generation: pool.object.metadata.generation,
        replicas: count(facts.starting + facts.idle + facts.busy + facts.draining),
        starting: count(facts.starting),
        idle: count(facts.idle),
        busy: count(facts.busy),
        draining: count(facts.draining),
        queued: count(facts.queued),
        selector: Some(format!("{}={name},{}={}", labels::POOL, labels::COMPONENT, labels::COMPONENT_WORKER)),
        circuit: facts.circuit.clone(),
        conditions: pool.status().map(|status| status.conditions.clone()).unwrap_or_default(),
    };
    let generation = pool.object.metadata.generation;
    let mut set = |kind, (holds, reason, message): (bool, &str, &str)| {
        let new = NewCondition { kind, holds, reason, message, observed_generation: generation };
        conditions::set(&mut status.conditions, new, now);
    };
    set(READY, ready(facts));
    set(RECONCILING, reconciling(facts));
    set(STALLED, stalled(facts));
    status
}

/// What a pool says whose circuit is open.
const CIRCUIT: &str = "The workers failed at one job after another. One job at a time is tried until one works; the jobs' attempts and the workers' logs say why they failed.";

fn ready(facts: &PoolFacts) -> (bool, &str, &str) {
    match &facts.trouble {
        _ if facts.held_back => (false, reason::CIRCUIT_OPEN, CIRCUIT),
        _ if facts.idle + facts.busy > 0 => (true, reason::WORKERS_READY, "Workers are ready."),
        Some(trouble) => (false, trouble.reason, &trouble.message),
        None if facts.wanted == 0 => (true, reason::SCALED_TO_ZERO, "No job waits: there is no worker."),
        None if facts.gated > 0 => (false, reason::WAITING_FOR_QUOTA, GATED),
        None => (false, reason::POOL_STARTING, "The first worker is starting."),
    }
}

/// What a pool says of workers that wait for quota.
const GATED: &str = "A quota system has not admitted the workers yet; they start when it does.";

fn reconciling(facts: &PoolFacts) -> (bool, &str, &str) {
    match &facts.trouble {
        _ if facts.held_back => (false, reason::CIRCUIT_OPEN, CIRCUIT),
        // kstatus looks at this condition before `Stalled`: what waits for somebody's help is not in progress.
        Some(trouble) => (facts.waits_for_nodes, trouble.reason, &trouble.message),
        None if facts.gated > 0 => (true, reason::WAITING_FOR_QUOTA, GATED),
        None if facts.starting > 0 || facts.idle + facts.busy < facts.wanted => {
            (true, reason::POOL_STARTING, "Workers are starting.")
        }
        None if facts.outdated > 0 => (
            true,
            reason::REPLACING_WORKERS,
            "Workers of an older template are replaced when they have done their jobs.",
        ),
        None => (false, reason::WORKERS_READY, "The pool has the workers it needs."),
    }
}

fn stalled(facts: &PoolFacts) -> (bool, &str, &str) {
    match &facts.trouble {
        _ if facts.held_back => (true, reason::CIRCUIT_OPEN, CIRCUIT),
        Some(trouble) => (!facts.waits_for_nodes, trouble.reason, &trouble.message),
        None => (false, reason::WORKERS_READY, "Nothing keeps workers from starting."),
    }
}

fn count(workers: usize) -> i32 {
    i32::try_from(workers).unwrap_or(i32::MAX)
}
