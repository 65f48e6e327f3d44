//! The operator's metrics, listed in `docs/monitoring.md`. Every label has few values.

mod pools;
mod registrar;

use k8s_openapi::jiff::Timestamp;
use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    exponential_buckets,
};
use trellis_crds::{Attempt, FailureReason, GenerationJobStatus, Outcome};

use crate::key::Key;
use pools::Pools;
use registrar::Registrar;

/// The pool of what is counted for pools without series of their own, and the stage of workers that are newer than this program.
const OTHER: &str = "other";
/// The stages of a job, as workers name them.
const STAGES: [&str; 11] = [
    "fetch",
    "encode",
    "sparse_structure",
    "structured_latent",
    "mesh",
    "gaussians",
    "radiance_field",
    "finish",
    "export",
    "preview",
    "upload",
];

/// The operator's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    leader: IntGauge,
    elections: IntCounter,
    pools: Pools,
    queued: IntGaugeVec,
    oldest: GaugeVec,
    workers: IntGaugeVec,
    circuit: IntGaugeVec,
    /// From when a job could be assigned until a worker was chosen.
    pub(crate) queue_seconds: Histogram,
    assignments: IntCounterVec,
    run_seconds: HistogramVec,
    stage_seconds: HistogramVec,
    /// By decision: what was written about jobs.
    pub(crate) decisions: IntCounterVec,
    attempts: IntCounterVec,
    /// How long a round of planning took.
    pub(crate) plan_seconds: Histogram,
    /// By action and result.
    pub(crate) apply_seconds: HistogramVec,
    /// By verb, resource and status code.
    pub(crate) api_requests: IntCounterVec,
    watch_answers: GaugeVec,
    /// By kind.
    pub(crate) invalid_objects: IntCounterVec,
}

/// A pool's figures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PoolFigures {
    pub(crate) queued: usize,
    /// When the oldest job in the queue was created.
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) starting: usize,
    pub(crate) idle: usize,
    pub(crate) busy: usize,
    pub(crate) draining: usize,
    pub(crate) circuit_open: bool,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let new = Registrar(registry);
        let short = exponential_buckets(0.0005, 2.5, 14)?;
        let long = exponential_buckets(0.05, 2.0, 17)?;
        Ok(Self {
            leader: new.gauge("leader", "1 on the replica that holds the Lease.")?,
            elections: new.count("elections_total", "How often this replica began to lead.")?,
            pools: Pools::default(),
            queued: new.gauges("queued_jobs", "Jobs that wait for a worker of the pool.", &["pool"])?,
            oldest: new.float_gauges(
                "oldest_queued_timestamp_seconds",
                "When the oldest job was created that waits for a worker of the pool, in Unix time.",
                &["pool"],
            )?,
            workers: new.gauges("workers", "Workers of the pool, by what they do.", &["pool", "state"])?,
            circuit: new.gauges(
                "circuit_open",
                "1 while the pool's workers fail at one job after another, so that jobs wait.",
                &["pool"],
            )?,
            queue_seconds: new
                .histograms(
                    "queue_seconds",
                    "From when a job could be assigned until a worker was chosen.",
                    &[],
                    &short,
                )?
                .with_label_values::<&str>(&[]),
            assignments: new.counts("assignments_total", "Jobs that were given to workers.", &["pool"])?,
            run_seconds: new.histograms(
                "run_seconds",
                "How long the attempts took that completed a job.",
                &["pool"],
                &long,
            )?,
            stage_seconds: new.histograms(
                "stage_seconds",
                "How long the stages of completed jobs took.",
                &["stage"],
                &long,
            )?,
            decisions: new.counts("decisions_total", "What was written about jobs.", &["decision"])?,
            attempts: new.counts("attempts_total", "Attempts that ended.", &["outcome", "reason"])?,
            plan_seconds: new
                .histograms("plan_seconds", "How long a round of planning took.", &[], &short)?
                .with_label_values::<&str>(&[]),
            apply_seconds: new.histograms(
                "apply_seconds",
                "How long it took to carry out an action.",
                &["action", "result"],
                &short,
            )?,
            api_requests: new.counts(
                "api_requests_total",
                "Requests to the API server.",
                &["verb", "resource", "code"],
            )?,
            watch_answers: new.float_gauges(
                "watch_answer_timestamp_seconds",
                "When a list or watch of the resource was last answered, in Unix time.",
                &["resource"],
            )?,
            invalid_objects: new.counts(
                "invalid_objects_total",
                "Objects that were ignored because they cannot be used.",
                &["kind"],
            )?,
        })
    }

    /// This replica leads from now on, or does not any more.
    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        self.elections.inc_by(u64::from(leads));
    }

    pub(crate) fn set_pool(&self, pool: &Key, figures: PoolFigures) {
        let Some(pool) = self.pools.label(pool) else { return };
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.queued.with_label_values(&[&pool]).set(whole(figures.queued));
        for (state, workers) in [
            ("starting", figures.starting),
            ("idle", figures.idle),
            ("busy", figures.busy),
            ("draining", figures.draining),
        ] {
            self.workers.with_label_values(&[&*pool, state]).set(whole(workers));
        }
        self.circuit.with_label_values(&[&pool]).set(i64::from(figures.circuit_open));
        match figures.oldest {
            Some(time) => self.oldest.with_label_values(&[&pool]).set(unix(time)),
            // Without a job there is no age; it is an error only where there was none before.
            None => _ = self.oldest.remove_label_values(&[&pool]),
        }
    }

    /// Drops what is measured by pool.
    pub(crate) fn forget_pool(&self, pool: &Key) {
        let Some(pool) = self.pools.forget(pool) else { return };
        // It is an error only where there was nothing to drop.
        let _ = self.queued.remove_label_values(&[&pool]);
        let _ = self.oldest.remove_label_values(&[&pool]);
        let _ = self.circuit.remove_label_values(&[&pool]);
        let _ = self.assignments.remove_label_values(&[&pool]);
        let _ = self.run_seconds.remove_label_values(&[&pool]);
        for state in ["starting", "idle", "busy", "draining"] {
            let _ = self.workers.remove_label_values(&[&*pool, state]);
        }
    }

    pub(crate) fn count_assignment(&self, pool: &Key) {
        let pool = self.pools.label(pool).unwrap_or_else(|| OTHER.to_owned());
        self.assignments.with_label_values(&[pool]).inc();
    }

    /// Counts an attempt that ended.
    pub(crate) fn count_attempt(&self, attempt: &Attempt) {
        let outcome = match attempt.outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::HandedBack => "handed_back",
            Outcome::Lost => "lost",
        };
        let reason = attempt.reason.map_or("", FailureReason::as_str);
        self.attempts.with_label_values(&[outcome, reason]).inc();
    }

    /// Records how long a job's completed attempt took, as its worker says.
    pub(crate) fn time_run(&self, pool: &Key, status: &GenerationJobStatus) {
        if let (Some(start), Some(end)) = (&status.start_time, &status.completion_time) {
            let pool = self.pools.label(pool).unwrap_or_else(|| OTHER.to_owned());
            let seconds = end.0.duration_since(start.0).as_secs_f64();
            self.run_seconds.with_label_values(&[pool]).observe(seconds.max(0.0));
        }
        for timing in &status.timings {
            let known = STAGES.into_iter().find(|stage| *stage == timing.stage);
            let seconds = timing.milliseconds as f64 / 1000.0;
            self.stage_seconds.with_label_values(&[known.unwrap_or(OTHER)]).observe(seconds);
        }
    }

    /// A list or watch of the resource was answered.
    pub(crate) fn note_watch(&self, resource: &str) {
        self.watch_answers.with_label_values(&[resource]).set(unix(Timestamp::now()));
    }
}

fn unix(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::pools::MOST_POOLS;
    use super::*;

    fn series(registry: &Registry, name: &str) -> usize {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0, |family| family.get_metric().len())
    }

    #[test]
    fn whoever_makes_many_pools_makes_no_more_series_than_there_may_be() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let pools: Vec<Key> = (0..2 * MOST_POOLS).map(|n| Key::new("a", n.to_string())).collect();
        for pool in &pools {
            metrics.set_pool(pool, PoolFigures::default());
            metrics.count_assignment(pool);
        }
        assert_eq!(series(&registry, "trellis_operator_queued_jobs"), MOST_POOLS);
        assert_eq!(series(&registry, "trellis_operator_assignments_total"), MOST_POOLS + 1);
        pools.iter().for_each(|pool| metrics.forget_pool(pool));
        assert_eq!(series(&registry, "trellis_operator_queued_jobs"), 0);
        assert_eq!(series(&registry, "trellis_operator_workers"), 0);
        metrics.set_pool(&pools[300], PoolFigures::default());
        assert_eq!(series(&registry, "trellis_operator_queued_jobs"), 1, "there is room again");
    }

    #[test]
    fn a_pool_without_a_queue_has_no_oldest_job() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let pool = Key::new("a", "image");
        let oldest = Some(Timestamp::UNIX_EPOCH);
        metrics.set_pool(&pool, PoolFigures { queued: 1, oldest, ..PoolFigures::default() });
        assert_eq!(series(&registry, "trellis_operator_oldest_queued_timestamp_seconds"), 1);
        metrics.set_pool(&pool, PoolFigures::default());
        assert_eq!(series(&registry, "trellis_operator_oldest_queued_timestamp_seconds"), 0);
    }

    #[test]
    fn a_workers_own_stage_names_make_no_series() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let stage = |name: String| json!({"stage": name, "milliseconds": 5});
        let timings: Vec<_> = (0..50).map(|n| stage(format!("x{n}"))).chain([stage("mesh".into())]).collect();
        let status = json!({
            "startTime": "2026-01-01T00:00:00.000000Z", "completionTime": "2026-01-01T00:00:07.000000Z",
            "timings": timings,
        });
        metrics.time_run(&Key::new("a", "image"), &serde_json::from_value(status).unwrap());
        assert_eq!(series(&registry, "trellis_operator_stage_seconds"), 2);
        assert_eq!(series(&registry, "trellis_operator_run_seconds"), 1);
    }
}
