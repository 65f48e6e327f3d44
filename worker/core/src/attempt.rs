//! One attempt at one job, from taking it to reporting its end.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trellis_crds::{FailureReason, GenerationJob};

use crate::desk::AttemptId;
use crate::engine::{Engine, Product, Progress, Work, Worker};
use crate::failure::Failure;
use crate::report::{Reporter, Written};
use crate::status::{self, Period};

/// A job that is done within this has no progress written, which would cost more than it tells.
const FIRST_PROGRESS: Duration = Duration::from_secs(5);
const NEXT_PROGRESS: Duration = Duration::from_secs(10);
/// How long a write of progress may be tried.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(3);
/// How long a result may be tried to be written: as long as an attempt may run by the schema. While the API server does not answer there is
/// nothing else to do, and once it does it says whether the job is still this worker's. To drop the result sooner would leave the
/// job with a worker that does nothing about it.
const RESULT_PATIENCE: Duration = Duration::from_secs(604_800);
/// How long a job may still complete after the pod was told to end.
const GRACE: Duration = Duration::from_secs(1);

/// Whether an attempt is to stop, and what of it is then to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Go on.
    No,
    /// The job is no longer this worker's: write nothing.
    LetGo,
    /// The pod is to end: give the job back.
    HandBack,
}

/// How an attempt ended, for logs and metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Succeeded,
    Failed(FailureReason),
    HandedBack,
    LetGo,
    /// There was a result, and nobody to take it.
    Dropped,
}

impl End {
    /// Whether the worker itself is to blame.
    pub(crate) fn is_fault(self) -> bool {
        matches!(self, Self::Failed(FailureReason::Internal))
    }

    fn metric_label(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed(reason) => reason.as_str(),
            Self::HandedBack => "HandedBack",
            Self::LetGo => "LetGo",
            Self::Dropped => "Dropped",
        }
    }
}

/// Makes `attempt` at `job` and reports how it ended.
pub(crate) async fn make<E: Engine>(
    worker: Arc<Worker<E>>,
    attempt: AttemptId,
    job: GenerationJob,
    stop: watch::Receiver<Stop>,
) -> End {
    let namespace = job.namespace().unwrap_or_default();
    let span = tracing::info_span!("job", namespace, name = job.name_any(), attempt = attempt.number);
    let api = Api::namespaced(worker.client.clone(), &namespace);
    let reporter = Reporter::new(api, worker.identity.clone(), attempt.clone(), job.clone());
    let run = async {
        worker.metrics.started();
        tracing::info!("job taken");
        let end = Attempt { start: Timestamp::now(), stop, reporter }.run(&worker, &attempt, job).await;
        worker.metrics.ended(end.metric_label());
        tracing::info!(end = end.metric_label(), "job ended");
        end
    };
    run.instrument(span).await
}

/// Lets the engine do the work.
async fn work_on<E: Engine>(worker: Arc<Worker<E>>, work: Work) -> Result<Option<Product>, Failure> {
    let product = worker.engine.run(work).await?;
    if let Some(product) = &product {
        worker.metrics.timed(&product.timings);
    }
    Ok(product)
}

type Running = JoinHandle<Result<Option<Product>, Failure>>;

struct Attempt {
    start: Timestamp,
    stop: watch::Receiver<Stop>,
    reporter: Reporter,
}

impl Attempt {
    async fn run<E: Engine>(
        mut self,
        worker: &Arc<Worker<E>>,
        attempt: &AttemptId,
        job: GenerationJob,
    ) -> End {
        let cancel = CancellationToken::new();
        let (progress, shown) = watch::channel(Progress::default());
        let work = Work { job, attempt: attempt.number, start: self.start, progress, cancel: cancel.clone() };
        let mut work = tokio::spawn(work_on(worker.clone(), work).in_current_span());
        let mut pace = pace();
        let mut written = None;
        loop {
            tokio::select! {
                result = &mut work => return self.report(result).await,
                stop = stopped(&mut self.stop) => return self.stop(stop, cancel, work).await,
                _ = pace.tick() => {
                    let now = *shown.borrow();
                    // The operator takes a worker that never wrote any for dead, so what was not written is written again.
                    if written != Some(now) && self.report_progress(now).await == Written::Done {
                        written = Some(now);
                    }
                }
            }
        }
    }

    /// Ends the work because somebody says so.
    async fn stop(mut self, stop: Stop, cancel: CancellationToken, mut work: Running) -> End {
        if stop == Stop::LetGo {
            cancel.cancel();
            // The device is free when the work has noticed.
            let _ = work.await;
            return End::LetGo;
        }
        if let Ok(result) = timeout(GRACE, &mut work).await {
            return self.report(result).await;
        }
        cancel.cancel();
        let period = Period { start: self.start, end: Timestamp::now() };
        let end = self.write(End::HandedBack, |job| status::hand_back(job, period)).await;
        let _ = work.await;
        end
    }

    async fn report(&mut self, result: Result<Result<Option<Product>, Failure>, JoinError>) -> End {
        let failure = match result {
            Ok(Ok(Some(product))) => {
                return self.write(End::Succeeded, |job| status::complete(job, &product)).await;
            }
            Ok(Ok(None)) => return End::LetGo,
            Ok(Err(failure)) => failure,
            Err(panic) => Failure::internal(&panic),
        };
        let period = Period { start: self.start, end: Timestamp::now() };
        let end = End::Failed(failure.reason);
        self.write(end, |job| status::fail(job, period, &failure)).await
    }

    async fn report_progress(&mut self, Progress { stage, percent }: Progress) -> Written {
        let now = Timestamp::now();
        self.reporter.write(|job| status::progress(job, stage, percent, now), PROGRESS_PATIENCE).await
    }

    async fn write(&mut self, end: End, change: impl Fn(&mut GenerationJob)) -> End {
        match self.reporter.write(change, RESULT_PATIENCE).await {
            Written::Done => end,
            Written::Dropped => End::Dropped,
        }
    }
}

fn pace() -> Interval {
    let mut pace = interval_at(Instant::now() + FIRST_PROGRESS, NEXT_PROGRESS);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Ends when the attempt is to stop; never when the one who could say so is gone.
async fn stopped(stop: &mut watch::Receiver<Stop>) -> Stop {
    let said = stop.wait_for(|stop| *stop != Stop::No).await.map(|stop| *stop).ok();
    match said {
        Some(stop) => stop,
        None => std::future::pending().await,
    }
}
