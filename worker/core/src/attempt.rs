//! Attempts at jobs that are computed together, each from taking it to reporting its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};
use trellis_crds::{FailureReason, GenerationJob};
use trellis_telemetry::{TraceParent, TraceSpan};

use crate::desk::AttemptId;
use crate::engine::{Engine, Made, Progress, Work, Worker};
use crate::failure::Failure;
use crate::pace::Pace;
use crate::report::{Reporter, Written};
use crate::status::{Period, complete, fail, hand_back, progress};

/// How long a result may be tried to be written: as long as an attempt may run by the schema. While the API server does not answer there is
/// nothing else to do, and once it does it says whether the job is still this worker's. To drop the result sooner would leave the
/// job with a worker that does nothing about it.
const RESULT_PATIENCE: Duration = Duration::from_secs(604_800);
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
    /// There was a result, or a failure to tell, and the API server does not take it from this worker.
    Refused,
}

impl End {
    /// Whether the worker itself is to blame.
    pub(crate) fn is_fault(self) -> bool {
        matches!(self, Self::Failed(FailureReason::Internal))
    }

    /// How an attempt ended that would have ended so if it could be told.
    fn of(written: Written, told: Self) -> Self {
        match written {
            Written::Done => told,
            Written::Dropped => Self::Dropped,
            Written::Refused | Written::Forbidden => Self::Refused,
        }
    }

    /// Says in the attempt's trace how it ended.
    fn tell(self, trace: &TraceSpan) {
        trace.set("trellis3d.end", self.metric_label());
        if !matches!(self, Self::Succeeded | Self::HandedBack | Self::LetGo) {
            trace.fail(self.metric_label());
        }
    }

    fn metric_label(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed(reason) => reason.as_str(),
            Self::HandedBack => "HandedBack",
            Self::LetGo => "LetGo",
            Self::Dropped => "Dropped",
            Self::Refused => "Refused",
        }
    }
}

/// An attempt that is to be made, and what says when to stop.
pub(crate) struct Member {
    pub(crate) attempt: AttemptId,
    pub(crate) job: GenerationJob,
    pub(crate) stop: watch::Receiver<Stop>,
}

/// Makes the attempts of a batch, and reports how each of them ended.
pub(crate) async fn make<E: Engine>(worker: Arc<Worker<E>>, members: Vec<Member>) -> Vec<End> {
    let start = Timestamp::now();
    let (mut works, mut results, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
    for Member { attempt, job, stop } in members {
        let (progress, shown) = watch::channel(Progress::default());
        let (told, result) = oneshot::channel();
        let cancel = CancellationToken::new();
        let span = span(attempt.number, &job);
        works.push(Work {
            job: job.clone(),
            attempt: attempt.number,
            start,
            progress,
            cancel: cancel.clone(),
            span: span.clone(),
        });
        results.push(told);
        let under_way = UnderWay { shown, result, cancel, stop };
        attempts.push(make_one(worker.clone(), attempt, job, start, under_way).instrument(span));
    }
    let span = match &works[..] {
        [work] => work.span.clone(),
        works => tracing::info_span!("batch", jobs = works.len()),
    };
    let work = tokio::spawn(work_on(worker.clone(), works, results).instrument(span));
    let ends = join_all(attempts).await;
    // Its panic was told by the results that did not come.
    let _ = work.await;
    ends
}

/// What an attempt has to do with the work that is done for it.
struct UnderWay {
    shown: watch::Receiver<Progress>,
    /// Gone without a result where the engine panicked.
    result: oneshot::Receiver<Made>,
    cancel: CancellationToken,
    stop: watch::Receiver<Stop>,
}

async fn make_one<E: Engine>(
    worker: Arc<Worker<E>>,
    attempt: AttemptId,
    job: GenerationJob,
    start: Timestamp,
    under_way: UnderWay,
) -> End {
    let begun = Attempt::begin(&worker, &attempt, &job, start);
    worker.metrics.started();
    tracing::info!("job taken");
    let trace = trace(&attempt, &job);
    let end = begun.run(&worker, under_way).await;
    trace.inspect(|trace| end.tell(trace));
    worker.metrics.ended(end.metric_label());
    tracing::info!(end = end.metric_label(), "job ended");
    end
}

/// Hands back `job`, which the worker has not begun.
pub(crate) async fn decline<E: Engine>(worker: Arc<Worker<E>>, attempt: AttemptId, job: GenerationJob) {
    let span = span(attempt.number, &job);
    let mut begun = Attempt::begin(&worker, &attempt, &job, Timestamp::now());
    async {
        let end = begun.hand_back().await;
        tracing::info!(end = end.metric_label(), "job handed back before it began");
    }
    .instrument(span)
    .await;
}

fn span(attempt: i32, job: &GenerationJob) -> Span {
    let namespace = job.namespace().unwrap_or_default();
    let trace = place(job).trace_id();
    tracing::info_span!("job", namespace, name = job.name_any(), attempt, trace)
}

/// Where the job is in the trace that its annotation names.
fn place(job: &GenerationJob) -> TraceParent {
    job.traceparent().map(TraceParent::parse).unwrap_or_default()
}

/// The attempt's span, where the job is part of a trace.
fn trace(attempt: &AttemptId, job: &GenerationJob) -> Option<TraceSpan> {
    let place = place(job);
    place.trace_id()?;
    let trace = TraceSpan::consume("attempt", &place);
    trace.set("trellis3d.job", job.name_any());
    trace.set("trellis3d.attempt", i64::from(attempt.number));
    Some(trace)
}

/// Lets the engine do the work, and hands each attempt its result.
async fn work_on<E: Engine>(worker: Arc<Worker<E>>, works: Vec<Work>, results: Vec<oneshot::Sender<Made>>) {
    let made = worker.engine.run_batch(works).await;
    for (told, made) in results.into_iter().zip(made) {
        if let Ok(Some(product)) = &made {
            worker.metrics.timed(&product.timings);
        }
        // An attempt that was let go of, or that the runtime dropped, asks no more.
        let _ = told.send(made);
    }
}

struct Attempt {
    start: Timestamp,
    reporter: Reporter,
    pace: Pace,
}

impl Attempt {
    fn begin<E: Engine>(
        worker: &Worker<E>,
        attempt: &AttemptId,
        job: &GenerationJob,
        start: Timestamp,
    ) -> Self {
        let api = Api::namespaced(worker.client.clone(), &job.namespace().unwrap_or_default());
        let pace = worker.pace;
        let reporter = Reporter::new(api, worker.identity.clone(), attempt.clone(), job.clone(), pace);
        Self { start, reporter, pace }
    }

    async fn run<E: Engine>(mut self, worker: &Arc<Worker<E>>, under_way: UnderWay) -> End {
        let UnderWay { shown, result: mut work, cancel, mut stop } = under_way;
        // A write of progress that is under way is dropped when there is something more important to write.
        tokio::select! {
            result = &mut work => self.report(worker, result).await,
            stop = stopped(&mut stop) => self.stop(worker, stop, cancel, work).await,
            never = self.report_progress(shown) => match never {},
        }
    }

    /// Ends the work because somebody says so.
    async fn stop<E: Engine>(
        mut self,
        worker: &Worker<E>,
        stop: Stop,
        cancel: CancellationToken,
        mut work: oneshot::Receiver<Made>,
    ) -> End {
        if stop == Stop::LetGo {
            cancel.cancel();
            // The device is free when the work has noticed.
            let _ = work.await;
            return End::LetGo;
        }
        if let Ok(result) = timeout(self.pace.grace, &mut work).await {
            return self.report(worker, result).await;
        }
        cancel.cancel();
        // Handed back before it has ended, the next attempt could run beside it; but not for want of an end may it be lost.
        let ended = timeout(self.pace.grace, &mut work).await.is_ok();
        let end = self.hand_back().await;
        if !ended {
            let _ = work.await;
        }
        end
    }

    async fn report<E: Engine>(&mut self, worker: &Worker<E>, result: Result<Made, RecvError>) -> End {
        let failure = match result {
            Ok(Ok(Some(product))) => {
                match self.reporter.write(|job| complete(job, &product), RESULT_PATIENCE).await {
                    // Silence would leave the job to a worker that does nothing about it.
                    Written::Refused => Failure::unacceptable(),
                    written => return End::of(written, End::Succeeded),
                }
            }
            Ok(Ok(None)) => return End::LetGo,
            Ok(Err(failure)) => failure,
            Err(panic) => Failure::internal(&panic),
        };
        let period = self.period();
        self.keep_failure(worker, period, &failure).await;
        let written = self.reporter.write(|job| fail(job, period, &failure), RESULT_PATIENCE).await;
        End::of(written, End::Failed(failure.reason))
    }

    async fn keep_failure<E: Engine>(&self, worker: &Worker<E>, period: Period, failure: &Failure) {
        let mut job = self.reporter.job().clone();
        fail(&mut job, period, failure);
        if timeout(self.pace.record, worker.engine.keep_failure(&job)).await.is_err() {
            tracing::warn!("no record of the failed attempt could be kept in time");
        }
    }

    async fn hand_back(&mut self) -> End {
        let period = self.period();
        let written = self.reporter.write(|job| hand_back(job, period), RESULT_PATIENCE).await;
        End::of(written, End::HandedBack)
    }

    /// Writes how far the work is, now and then, for as long as it is polled.
    async fn report_progress(&mut self, shown: watch::Receiver<Progress>) -> Infallible {
        let mut ticks = interval_at(Instant::now() + self.pace.first_progress, self.pace.next_progress);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = None;
        loop {
            ticks.tick().await;
            let now = *shown.borrow();
            let time = Timestamp::now();
            let change = |job: &mut GenerationJob| progress(job, now.stage, now.percent, time);
            // The operator takes a worker that never wrote any for dead, so what was not written is written again.
            if written != Some(now)
                && self.reporter.write(change, self.pace.progress_patience).await == Written::Done
            {
                written = Some(now);
            }
        }
    }

    fn period(&self) -> Period {
        Period { start: self.start, end: Timestamp::now() }
    }
}

/// Ends when the attempt is to stop; never when the one who could say so is gone.
async fn stopped(stop: &mut watch::Receiver<Stop>) -> Stop {
    let said = stop.wait_for(|stop| *stop != Stop::No).await.map(|stop| *stop).ok();
    match said {
        Some(stop) => stop,
        None => std::future::pending().await,
    }
}
