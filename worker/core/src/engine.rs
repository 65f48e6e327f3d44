//! What makes the assets, as the protocol sees it.

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use trellis_crds::{GenerationJob, OutputFile, StageTiming};

use crate::desk::Identity;
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::status::Period;

/// How the work of an attempt ended: `None` when it was cancelled.
pub type Made = Result<Option<Product>, Failure>;

/// Makes the asset of one attempt and stores its files.
pub trait Engine: Send + Sync + 'static {
    /// Does the work of an attempt. `None` when it stopped because it was cancelled: it must see to that within seconds, for the
    /// worker takes no other job before.
    ///
    /// # Errors
    /// Why the attempt failed, as the job's owner is told. A panic counts as a fault of the worker.
    fn run(&self, work: Work) -> impl Future<Output = Made> + Send;

    /// Does the work of several attempts that fit together, and returns their results in the same order. One of them that fails or is
    /// cancelled leaves the others alone. They run side by side where an engine has no better way.
    fn run_batch(&self, works: Vec<Work>) -> impl Future<Output = Vec<Made>> + Send {
        join_all(works.into_iter().map(|work| self.run(work)))
    }

    /// Keeps a record of an attempt that failed, where it can; `job` is as its status will then be. The report of the failure waits for
    /// [`Pace::record`] at most, so that the record of a later attempt comes later.
    fn keep_failure(&self, job: &GenerationJob) -> impl Future<Output = ()> + Send {
        let _ = job;
        std::future::ready(())
    }
}

/// The work of one attempt.
#[derive(Debug)]
pub struct Work {
    /// The job as it was when it was taken.
    pub job: GenerationJob,
    /// The number of the attempt, from 1.
    pub attempt: i32,
    /// When the attempt began.
    pub start: Timestamp,
    /// Takes how far the work is. The last value is written into the job's status now and then.
    pub progress: Sender<Progress>,
    /// Ends when the work is to stop.
    pub cancel: CancellationToken,
    /// Names the job in the log lines of what is done for it alone.
    pub span: Span,
}

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in one word.
    pub stage: &'static str,
    /// Of the whole attempt, 0 to 100.
    pub percent: i32,
}

impl Default for Progress {
    fn default() -> Self {
        Self { stage: "fetch", percent: 0 }
    }
}

/// What a successful attempt made.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// When it was made.
    pub period: Period,
    /// The folder that the files are in.
    pub folder: String,
    /// The files.
    pub outputs: Vec<OutputFile>,
    /// How long the stages took.
    pub timings: Vec<StageTiming>,
    /// The most memory of the device that was held, in bytes.
    pub peak_memory: Option<i64>,
    /// The seed that the asset can be made with again.
    pub seed: i64,
}

impl Product {
    /// A product without files, made from `start` until now.
    pub fn since(start: Timestamp) -> Self {
        Self {
            period: Period { start, end: Timestamp::now() },
            folder: String::new(),
            outputs: Vec::new(),
            timings: Vec::new(),
            peak_memory: None,
            seed: 0,
        }
    }
}

/// What every attempt needs.
pub struct Worker<E> {
    /// Watches and writes jobs. One that repeats requests by itself would do so for writes too, whose outcome is then not known:
    /// `default_retry` must be off.
    pub client: Client,
    /// Who this worker is.
    pub identity: Identity,
    /// Makes the assets.
    pub engine: E,
    /// What the worker counts.
    pub metrics: Metrics,
    /// After how many attempts the worker ends; `None` for never.
    pub max_jobs: Option<u32>,
    /// How long things may take.
    pub pace: Pace,
}
