//! The operator's metrics. Every label has few values.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use trellis_crds::{Attempt, FailureReason, Outcome};

use crate::key::Key;

/// The operator's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// 1 on the replica that writes.
    pub(crate) leader: IntGauge,
    queue: IntGaugeVec,
    /// From when a job could be assigned until a worker was chosen.
    pub(crate) queue_seconds: Histogram,
    /// By decision: what was written about jobs.
    pub(crate) decisions: IntCounterVec,
    /// By outcome and reason: attempts that ended.
    pub(crate) attempts: IntCounterVec,
    /// How long a round of planning took.
    pub(crate) plan_seconds: Histogram,
    /// By action and result.
    pub(crate) apply_seconds: HistogramVec,
    /// By verb, resource and status code.
    pub(crate) api_requests: IntCounterVec,
    /// By kind.
    pub(crate) invalid_objects: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let buckets = prometheus::exponential_buckets(0.0005, 2.5, 14)?;
            let histogram = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?;
            registry.register(Box::new(histogram.clone())).map(|()| histogram)
        };
        let queue = Opts::new("trellis_operator_queued_jobs", "Jobs that wait for a worker of the pool.");
        let queue = IntGaugeVec::new(queue, &["pool"])?;
        registry.register(Box::new(queue.clone()))?;
        let leader = IntGauge::new("trellis_operator_leader", "1 on the replica that holds the Lease.")?;
        registry.register(Box::new(leader.clone()))?;
        Ok(Self {
            leader,
            queue,
            queue_seconds: histogram(
                "trellis_operator_queue_seconds",
                "From when a job could be assigned until a worker was chosen.",
                &[],
            )?
            .with_label_values::<&str>(&[]),
            decisions: counter(
                "trellis_operator_decisions_total",
                "What was written about jobs.",
                &["decision"],
            )?,
            attempts: counter(
                "trellis_operator_attempts_total",
                "Attempts that ended.",
                &["outcome", "reason"],
            )?,
            plan_seconds: histogram(
                "trellis_operator_plan_seconds",
                "How long a round of planning took.",
                &[],
            )?
            .with_label_values::<&str>(&[]),
            apply_seconds: histogram(
                "trellis_operator_apply_seconds",
                "How long it took to carry out an action.",
                &["action", "result"],
            )?,
            api_requests: counter(
                "trellis_operator_api_requests_total",
                "Requests to the API server.",
                &["verb", "resource", "code"],
            )?,
            invalid_objects: counter(
                "trellis_operator_invalid_objects_total",
                "Objects that were ignored because they cannot be used.",
                &["kind"],
            )?,
        })
    }

    pub(crate) fn set_queue(&self, pool: &Key, jobs: usize) {
        let jobs = i64::try_from(jobs).unwrap_or(i64::MAX);
        self.queue.with_label_values(&[pool.to_string()]).set(jobs);
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

    /// Drops what is measured by pool.
    pub(crate) fn forget_pool(&self, pool: &Key) {
        // It is an error only where there was nothing to drop.
        let _ = self.queue.remove_label_values(&[pool.to_string()]);
    }
}
