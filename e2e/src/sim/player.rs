//! An engine that makes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
/// each after the time that the engine takes. Clones share their count of runs.
#[derive(Clone, Debug)]
pub struct Player {
    takes: Duration,
    folder: String,
    runs: Arc<AtomicUsize>,
}

impl Player {
    /// An engine that takes so long for each job, and says that files are in `<destination>/<namespace>/<job uid>/<attempt>`.
    pub fn new(takes: Duration, destination: &str) -> Self {
        Self { takes, folder: destination.trim_end_matches('/').into(), runs: Arc::default() }
    }

    /// How many attempts have begun.
    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
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
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.play(&work).await
    }
}

fn play_of(job: &GenerationJob) -> &str {
    job.labels().get("play").map_or("complete", String::as_str)
}

fn failure(reason: FailureReason) -> Failure {
    Failure { reason, message: "as the job asked".into() }
}
