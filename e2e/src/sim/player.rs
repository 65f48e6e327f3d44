//! An engine that makes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::ResourceExt as _;
use trellis_crds::{FailureReason, GenerationJob, OutputFile};
use trellis_worker_core::{Engine, Failure, Product, Progress, Work};

use super::shelf::Shelf;

/// Does with each job as its label `play` says:
///
/// | label | what happens |
/// |---|---|
/// | `complete`, or none | it completes, with the address of a file that is not there, unless the engine stores files |
/// | `hold` | it shows progress and runs until it is stopped |
/// | `transient`, `invalid`, `internal` | it fails for that reason |
/// | `panic` | the engine panics |
///
/// each after the time that the engine takes. Clones share their count of runs.
#[derive(Clone, Debug)]
pub struct Player {
    takes: Duration,
    folder: String,
    shelf: Option<Shelf>,
    runs: Arc<AtomicUsize>,
}

impl Player {
    /// An engine that takes so long for each job, and says that files are in `<destination>/<namespace>/<job uid>/<attempt>`.
    pub fn new(takes: Duration, destination: &str) -> Self {
        Self { takes, folder: destination.trim_end_matches('/').into(), shelf: None, runs: Arc::default() }
    }

    /// The same engine, which stores an asset of `bytes` for each job and keeps its records, as workers do. Its destination is in a folder.
    ///
    /// # Errors
    /// When the destination is none.
    pub fn storing(self, bytes: usize) -> anyhow::Result<Self> {
        let shelf = Shelf::at(&self.folder, bytes)?;
        Ok(Self { shelf: Some(shelf), ..self })
    }

    /// How many attempts have begun.
    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }

    async fn product(&self, work: &Work) -> Result<Product, Failure> {
        let folder = format!("{}/{}", self.folder, work.job.folder_of_attempt(work.attempt));
        let product = Product { folder, ..Product::since(work.start) };
        if let Some(shelf) = &self.shelf {
            let stored = shelf.store(&work.job, product).await;
            return stored.map_err(|error| failure(FailureReason::Internal, &format!("{error:#}")));
        }
        let file = OutputFile {
            format: "glb".into(),
            uri: format!("{}/model.glb", product.folder),
            bytes: 1,
            sha256: "0".repeat(64),
        };
        Ok(Product { outputs: vec![file], ..product })
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
            "transient" => Err(failure(FailureReason::Transient, AS_ASKED)),
            "invalid" => Err(failure(FailureReason::InvalidInput, AS_ASKED)),
            "internal" => Err(failure(FailureReason::Internal, AS_ASKED)),
            "panic" => panic!("the job asks for it"),
            _ => self.product(work).await.map(Some),
        }
    }
}

impl Engine for Player {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.play(&work).await
    }
}

const AS_ASKED: &str = "as the job asked";

fn play_of(job: &GenerationJob) -> &str {
    job.labels().get("play").map_or("complete", String::as_str)
}

fn failure(reason: FailureReason, message: &str) -> Failure {
    Failure { reason, message: message.into() }
}
