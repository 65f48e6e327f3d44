//! What workers do with a job: they wait, and write down when.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use tokio_util::sync::CancellationToken;
use trellis_crds::OutputFile;
use trellis_worker_core::{Engine, Failure, Product, Work};

use crate::schedule::Schedule;

/// One run of an attempt by a worker.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) job: String,
    pub(crate) attempt: i32,
    pub(crate) worker: String,
    /// When the worker was given it; jobs of one batch have one time.
    pub(crate) assigned: Option<Timestamp>,
    pub(crate) start: Instant,
    /// `None` while it runs.
    pub(crate) end: Option<Instant>,
}

impl Run {
    /// Whether it was assigned with the other one, or is it.
    pub(crate) fn is_of_batch(&self, other: &Self) -> bool {
        (&self.worker, self.assigned) == (&other.worker, other.assigned)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, attempt, worker, start, end, .. } = self;
        let time = end.map(|end| end.duration_since(*start));
        write!(
            f,
            "attempt {attempt} at job {job} by {worker}, begun {:?} ago, took {time:?}",
            start.elapsed()
        )
    }
}

/// All runs of a namespace.
pub(crate) type Runs = Arc<Mutex<Vec<Run>>>;

pub(crate) struct Waiting {
    pub(crate) worker: String,
    pub(crate) schedule: Schedule,
    pub(crate) runs: Runs,
    /// Of the worker, by which nothing goes on.
    pub(crate) death: CancellationToken,
}

/// Writes down the end of a run.
struct Ending(Runs, usize);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lock().unwrap()[self.1].end = Some(Instant::now());
    }
}

impl Waiting {
    fn begin(&self, work: &Work) -> Ending {
        let mut runs = self.runs.lock().unwrap();
        let (job, worker) = (work.job.uid().unwrap_or_default(), self.worker.clone());
        let assigned = work.job.assignment().map(|assignment| assignment.time.0);
        runs.push(Run { job, attempt: work.attempt, worker, assigned, start: Instant::now(), end: None });
        Ending(self.runs.clone(), runs.len() - 1)
    }
}

impl Engine for Waiting {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        let ending = self.begin(&work);
        let time = self.schedule.run_time(&work.job.name_any(), work.attempt);
        tokio::select! {
            () = work.cancel.cancelled() => return Ok(None),
            () = tokio::time::sleep(time) => {}
            () = self.death.cancelled() => {
                drop(ending);
                return std::future::pending().await;
            }
        }
        let failures = work.job.status.as_ref().map_or(0, |status| status.failures);
        match work.job.labels().get("play").map(String::as_str) {
            Some("invalid") => Err(Failure::invalid("it cannot be made (on purpose)")),
            Some("fail-once") if failures == 0 => Err(Failure::transient("it failed (on purpose)")),
            _ => {
                let file = OutputFile {
                    format: "glb".into(),
                    uri: format!("gs://assets/{}/{}/model.glb", work.job.name_any(), work.attempt),
                    bytes: 1,
                    sha256: "0".repeat(64),
                };
                Ok(Some(Product {
                    outputs: vec![file],
                    folder: "gs://assets".into(),
                    ..Product::since(work.start)
                }))
            }
        }
    }
}
