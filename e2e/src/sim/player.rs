//! An engine that makes nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use trellis_crds::{FailureReason, GenerationJob, OutputFile};
use trellis_worker_core::{Engine, Failure, Product, Progress, Work};

/// Does with each job as its label `play` says:
///
/// | label | what happens |
/// |---|---|
/// | `complete`, or none | it completes, with the address of a file that is not there |
/// | `hold` | it shows progress and runs until it is stopped |
/// | `transient`, `invalid`, `internal` | it fails for that reason |
/// | `panic` | the engine panics |
///
/// each after the time that the engine takes. Clones share their record of runs.
#[derive(Clone, Debug)]
pub struct Player {
    takes: Duration,
    folder: String,
    runs: Arc<Mutex<Vec<Run>>>,
}

/// What an engine was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The uid of the job.
    pub job: String,
    /// The name of the job.
    pub name: String,
    /// The number of the attempt.
    pub attempt: i32,
    /// The pod that the job named when it was taken.
    pub worker: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; `None` while it runs, and for ever if it panicked.
    pub end: Option<Timestamp>,
}

impl Player {
    /// An engine that takes so long for each job, and says that files are in `<destination>/<namespace>/<job uid>/<attempt>`.
    pub fn new(takes: Duration, destination: &str) -> Self {
        Self { takes, folder: destination.trim_end_matches('/').into(), runs: Arc::default() }
    }

    /// What was run so far, in the order in which it began.
    pub fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin(&self, work: &Work) -> usize {
        let run = Run {
            job: work.job.uid().unwrap_or_default(),
            name: work.job.name_any(),
            attempt: work.attempt,
            worker: work.job.assignment().map(|at| at.worker.clone()).unwrap_or_default(),
            start: work.start,
            end: None,
        };
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push(run);
        runs.len() - 1
    }

    fn end(&self, run: usize) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs[run].end = Some(Timestamp::now());
    }

    fn product(&self, work: &Work) -> Product {
        let folder = format!("{}/{}", self.folder, work.job.folder_of_attempt(work.attempt));
        let file = OutputFile {
            format: "glb".into(),
            uri: format!("{folder}/model.glb"),
            bytes: 1,
            sha256: "0".repeat(64),
        };
        Product { folder, outputs: vec![file], ..Product::since(work.start) }
    }

    async fn play(&self, work: &Work) -> Result<Option<Product>, Failure> {
        let play = play_of(&work.job);
        if play == "hold" {
            work.progress.send_replace(Progress { stage: "hold", percent: 50 });
            work.cancel.cancelled().await;
            return Ok(None);
        }
        if work.cancel.run_until_cancelled(tokio::time::sleep(self.takes)).await.is_none() {
            return Ok(None);
        }
        match play {
            "transient" => Err(failure(FailureReason::Transient)),
            "invalid" => Err(failure(FailureReason::InvalidInput)),
            "internal" => Err(failure(FailureReason::Internal)),
            "panic" => panic!("the job asks for it"),
            _ => Ok(Some(self.product(work))),
        }
    }
}

impl Engine for Player {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        let run = self.begin(&work);
        let result = self.play(&work).await;
        self.end(run);
        result
    }
}

fn play_of(job: &GenerationJob) -> &str {
    job.labels().get("play").map_or("complete", String::as_str)
}

fn failure(reason: FailureReason) -> Failure {
    Failure { reason, message: "as the job asked".into() }
}
