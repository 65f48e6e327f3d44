//! What a worker counts.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use trellis_crds::StageTiming;

/// The metrics of a worker. Clones count together.
#[derive(Clone)]
pub struct Metrics {
    jobs: IntCounterVec,
    stages: HistogramVec,
    busy: IntGauge,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let jobs = Opts::new("trellis_worker_attempts_total", "Attempts that ended, by their outcome.");
        let stages = HistogramOpts::new("trellis_worker_stage_seconds", "How long each stage of a job took.")
            .buckets(prometheus::exponential_buckets(0.005, 2.0, 18)?);
        let metrics = Self {
            jobs: IntCounterVec::new(jobs, &["outcome"])?,
            stages: HistogramVec::new(stages, &["stage"])?,
            busy: IntGauge::new("trellis_worker_busy", "1 while a job runs here, else 0.")?,
        };
        registry.register(Box::new(metrics.jobs.clone()))?;
        registry.register(Box::new(metrics.stages.clone()))?;
        registry.register(Box::new(metrics.busy.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn started(&self) {
        self.busy.set(1);
    }

    pub(crate) fn ended(&self, outcome: &'static str) {
        self.busy.set(0);
        self.jobs.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn timed(&self, timings: &[StageTiming]) {
        for timing in timings {
            let seconds = timing.milliseconds as f64 / 1000.0;
            self.stages.with_label_values(&[&timing.stage]).observe(seconds);
        }
    }
}
