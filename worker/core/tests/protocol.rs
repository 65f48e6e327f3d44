//! What a worker does with the jobs that it is given, against a real API server that is not always well.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use support::{Stage, hang, is_write, refuse};
use tokio::sync::Notify;
use trellis_crds::{FailureReason, GenerationJob, Outcome, Phase, conditions};
use trellis_e2e::ApiServer;
use trellis_e2e::sim::Player;
use trellis_worker_core::{Ended, Engine, Failure, Pace, Product, Work};

const HOUR: Duration = Duration::from_secs(3600);

/// A pace at which only what the test is about happens by itself.
fn pace() -> Pace {
    Pace { first_progress: HOUR, grace: Duration::ZERO, ..Pace::default() }
}

fn player() -> Player {
    Player::new(Duration::ZERO, "gs://assets/out")
}

#[tokio::test]
async fn an_assigned_job_completes_with_one_write() -> Result<()> {
    let stage = Stage::set("one-write").await?;
    let worker = stage.start(player(), pace(), None)?;
    let job = stage.assign("cup", "complete").await?;
    let done = stage.ended("cup").await?;
    let status = done.status.as_ref().context("no status")?;
    assert_eq!((done.phase(), status.attempts[0].outcome), (Phase::Completed, Outcome::Succeeded));
    assert!(conditions::is_true(&status.conditions, conditions::READY));
    let folder = format!("gs://assets/out/{}/{}/1/", stage.namespace.name(), job.uid().context("no uid")?);
    assert!(status.outputs[0].uri.starts_with(&folder), "{status:?}");
    stage.terminate(worker).await?;
    let events = ApiServer::shared().await?.audit_events()?;
    let writes = events.iter().filter(|event| event.is_about(stage.namespace.name(), "generationjobs"));
    // The job, its assignment, its report.
    assert_eq!(writes.filter(|event| event.is_write()).count(), 3);
    Ok(())
}

/// Ends its work when it is told to.
struct Told(Arc<Notify>);

impl Engine for Told {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        self.0.notified().await;
        Ok(Some(Product::since(work.start)))
    }
}

/// The first write, of progress, gets no answer, and would wait for one longer than the test lasts.
fn progress_hangs(stage: &Stage) -> (Pace, Arc<Notify>) {
    let hung = Arc::new(Notify::new());
    let (told, mut first) = (hung.clone(), true);
    stage.break_by(move |request| {
        let hangs = is_write(request) && std::mem::take(&mut first);
        hangs.then(|| {
            told.notify_one();
            hang()
        })
    });
    let soon = Duration::from_millis(1);
    (Pace { first_progress: soon, progress_patience: HOUR, call: HOUR, ..pace() }, hung)
}

#[tokio::test]
async fn progress_that_cannot_be_written_does_not_delay_the_result() -> Result<()> {
    let stage = Stage::set("result").await?;
    let (pace, hung) = progress_hangs(&stage);
    let worker = stage.start(Told(hung), pace, None)?;
    stage.assign("cup", "complete").await?;
    assert_eq!(stage.ended("cup").await?.phase(), Phase::Completed);
    stage.terminate(worker).await
}

#[tokio::test]
async fn progress_that_cannot_be_written_does_not_delay_the_hand_back() -> Result<()> {
    let stage = Stage::set("hand-back").await?;
    let (pace, hung) = progress_hangs(&stage);
    let worker = stage.start(player(), pace, None)?;
    stage.assign("cup", "hold").await?;
    hung.notified().await;
    stage.terminate(worker).await?;
    let job = stage.jobs().get("cup").await?;
    assert_eq!(job.current_attempt_ended().context("no attempt")?.outcome, Outcome::HandedBack);
    Ok(())
}

/// Takes a moment to stop, and says when it has begun and stopped.
#[derive(Clone, Default)]
struct Stopping {
    begun: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl Engine for Stopping {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        self.begun.store(true, Relaxed);
        work.cancel.cancelled().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.stopped.store(true, Relaxed);
        Ok(None)
    }
}

#[tokio::test]
async fn a_job_is_handed_back_when_nothing_works_on_it_any_more() -> Result<()> {
    let stage = Stage::set("stopped").await?;
    let engine = Stopping::default();
    let Stopping { begun, stopped } = engine.clone();
    let early = Arc::new(AtomicBool::new(false));
    let seen = early.clone();
    let worker = stage.start(engine, Pace { first_progress: HOUR, ..Pace::default() }, None)?;
    stage.assign("cup", "hold").await?;
    stage.until("the job's run", || begun.load(Relaxed)).await;
    stage.break_by(move |request| {
        seen.fetch_or(is_write(request) && !stopped.load(Relaxed), Relaxed);
        None
    });
    stage.terminate(worker).await?;
    let job = stage.jobs().get("cup").await?;
    assert_eq!(job.current_attempt_ended().context("no attempt")?.outcome, Outcome::HandedBack);
    assert!(!early.load(Relaxed), "it was handed back while its work went on");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_hands_back_every_job_that_it_has() -> Result<()> {
    let stage = Stage::set("all-back").await?;
    let names = ["first", "second", "third"];
    for name in names {
        stage.assign(name, "hold").await?;
    }
    let player = player();
    let worker = stage.start(player.clone(), pace(), None)?;
    stage.until("the first job's run", || player.runs() > 0).await;
    stage.terminate(worker).await?;
    for name in names {
        let job = stage.jobs().get(name).await?;
        assert_eq!(job.current_attempt_ended().context("no attempt")?.outcome, Outcome::HandedBack, "{name}");
    }
    assert_eq!(player.runs(), 1);
    Ok(())
}

#[tokio::test]
async fn a_worker_ends_after_as_many_jobs_as_it_may_have() -> Result<()> {
    let stage = Stage::set("most").await?;
    stage.assign("first", "complete").await?;
    stage.assign("second", "complete").await?;
    stage.start(player(), pace(), Some(1))?.await??;
    assert!(stage.health.ready().is_err());
    assert_eq!(stage.jobs().get("first").await?.phase(), Phase::Completed);
    let second = stage.jobs().get("second").await?;
    assert_eq!(second.current_attempt_ended().context("no attempt")?.outcome, Outcome::HandedBack);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_does_not_see_its_jobs_is_not_ready() -> Result<()> {
    let stage = Stage::set("blind").await?;
    let pace = Pace { watch: Duration::from_secs(1), blindness: Duration::ZERO, ..pace() };
    let worker = stage.start(player(), pace, None)?;
    stage.readiness(true).await;
    stage.break_by(|_| Some(refuse(500)));
    stage.readiness(false).await;
    stage.mend();
    stage.readiness(true).await;
    stage.assign("cup", "complete").await?;
    assert_eq!(stage.ended("cup").await?.phase(), Phase::Completed);
    stage.terminate(worker).await
}

#[tokio::test]
async fn a_result_that_is_refused_is_a_failure_on_record() -> Result<()> {
    let stage = Stage::set("refused").await?;
    let mut first = true;
    stage.break_by(move |request| (is_write(request) && std::mem::take(&mut first)).then(|| refuse(422)));
    let worker = stage.start(player(), pace(), None)?;
    stage.assign("cup", "complete").await?;
    let failed = stage.ended("cup").await?;
    let attempt = failed.current_attempt_ended().context("no attempt")?;
    assert_eq!((attempt.outcome, attempt.reason), (Outcome::Failed, Some(FailureReason::Internal)));
    assert!(attempt.message.as_ref().is_some_and(|message| message.contains("does not take")), "{attempt:?}");
    stage.terminate(worker).await
}

#[tokio::test]
async fn a_worker_that_cannot_report_ends_so_that_it_is_seen() -> Result<()> {
    let stage = Stage::set("mute").await?;
    stage.break_by(|request| is_write(request).then(|| refuse(422)));
    let worker = stage.start(player(), pace(), None)?;
    stage.assign("cup", "complete").await?;
    assert!(matches!(worker.await?, Err(Ended::Refused)));
    Ok(())
}

#[tokio::test]
async fn a_worker_that_fails_at_several_jobs_in_a_row_ends() -> Result<()> {
    let stage = Stage::set("faulty").await?;
    let worker = stage.start(player(), pace(), None)?;
    for (name, play) in [("a", "internal"), ("b", "panic"), ("c", "internal")] {
        stage.assign(name, play).await?;
        let failed = stage.ended(name).await?;
        let attempt = failed.current_attempt_ended().context("no attempt")?;
        assert_eq!(attempt.reason, Some(FailureReason::Internal), "{name}");
    }
    assert!(matches!(worker.await?, Err(Ended::Faulty)));
    Ok(())
}

/// Fails, and hands on what it is to keep a record of; or (`true`) never gets that done.
struct Recording(tokio::sync::mpsc::UnboundedSender<GenerationJob>, bool);

impl Engine for Recording {
    async fn run(&self, _: Work) -> Result<Option<Product>, Failure> {
        Err(Failure::invalid("it cannot be made"))
    }

    async fn keep_failure(&self, job: &GenerationJob) {
        if self.1 {
            std::future::pending::<()>().await;
        }
        let _ = self.0.send(job.clone());
    }
}

#[tokio::test]
async fn a_failure_is_kept_as_it_is_then_reported() -> Result<()> {
    let stage = Stage::set("record").await?;
    let (kept, mut records) = tokio::sync::mpsc::unbounded_channel();
    let worker = stage.start(Recording(kept, false), pace(), None)?;
    stage.assign("cup", "fail").await?;
    let reported = stage.ended("cup").await?;
    let kept = records.recv().await.context("nothing was kept")?;
    let ended = |job: &GenerationJob| {
        let attempt = job.current_attempt_ended()?;
        Some((job.uid()?, job.phase(), attempt.number, attempt.reason?, attempt.message.clone()?))
    };
    assert_eq!(ended(&kept).context("its end is missing")?, ended(&reported).context("no end")?);
    stage.terminate(worker).await
}

#[tokio::test]
async fn a_record_that_cannot_be_kept_does_not_hold_up_the_report() -> Result<()> {
    let stage = Stage::set("no-record").await?;
    let (kept, _records) = tokio::sync::mpsc::unbounded_channel();
    let pace = Pace { record: Duration::from_millis(1), ..pace() };
    let worker = stage.start(Recording(kept, true), pace, None)?;
    stage.assign("cup", "fail").await?;
    let attempts = stage.ended("cup").await?.status.context("no status")?.attempts;
    assert_eq!(attempts[0].reason, Some(FailureReason::InvalidInput));
    stage.terminate(worker).await
}

/// Tells how many works came together, and plays each of them.
struct Counting(tokio::sync::mpsc::UnboundedSender<usize>, Player);

impl Engine for Counting {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        self.1.run(work).await
    }

    async fn run_batch(&self, works: Vec<Work>) -> Vec<Result<Option<Product>, Failure>> {
        let _ = self.0.send(works.len());
        self.1.run_batch(works).await
    }
}

#[tokio::test]
async fn jobs_that_were_assigned_together_run_together_and_one_that_fails_fails_alone() -> Result<()> {
    let stage = Stage::set("together").await?;
    let (told, mut sizes) = tokio::sync::mpsc::unbounded_channel();
    let pace = Pace { gathering: HOUR, ..pace() };
    let worker = stage.start(Counting(told, player()), pace, None)?;
    let time = k8s_openapi::jiff::Timestamp::now();
    for (name, play) in [("a", "complete"), ("b", "invalid"), ("c", "complete")] {
        stage.assign_together(name, play, time, Some(3)).await?;
    }
    assert_eq!(stage.ended("a").await?.phase(), Phase::Completed);
    assert_eq!(stage.ended("c").await?.phase(), Phase::Completed);
    let failed = stage.ended("b").await?;
    let attempt = failed.current_attempt_ended().context("no attempt")?;
    assert_eq!(attempt.reason, Some(FailureReason::InvalidInput));
    stage.terminate(worker).await?;
    assert_eq!((sizes.recv().await, sizes.recv().await), (Some(3), None));
    Ok(())
}

#[tokio::test]
async fn a_batch_goes_on_without_a_member_that_does_not_come() -> Result<()> {
    let stage = Stage::set("incomplete").await?;
    let pace = Pace { gathering: Duration::from_millis(1), ..pace() };
    let worker = stage.start(player(), pace, None)?;
    stage.assign_together("cup", "complete", k8s_openapi::jiff::Timestamp::now(), Some(2)).await?;
    assert_eq!(stage.ended("cup").await?.phase(), Phase::Completed);
    stage.terminate(worker).await
}

#[tokio::test]
async fn a_batch_is_handed_back_at_the_end_whatever_became_of_one_member() -> Result<()> {
    let stage = Stage::set("member").await?;
    let pace = Pace { gathering: HOUR, ..pace() };
    let player = player();
    let worker = stage.start(player.clone(), pace, None)?;
    let time = k8s_openapi::jiff::Timestamp::now();
    for (name, play) in [("a", "hold"), ("b", "complete"), ("c", "hold")] {
        stage.assign_together(name, play, time, Some(3)).await?;
    }
    stage.until("the batch", || player.runs() == 3).await;
    stage.jobs().delete("a", &kube::api::DeleteParams::default()).await?;
    stage.terminate(worker).await?;
    let job = stage.jobs().get("c").await?;
    assert_eq!(job.current_attempt_ended().context("no attempt")?.outcome, Outcome::HandedBack);
    Ok(())
}

/// Each of its works ends when it is cancelled, or all when they are told to.
#[derive(Clone, Default)]
struct Signalled {
    go: tokio_util::sync::CancellationToken,
    begun: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

impl Engine for Signalled {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        self.begun.fetch_add(1, Relaxed);
        if work.cancel.run_until_cancelled(self.go.cancelled()).await.is_some() {
            return Ok(Some(Product::since(work.start)));
        }
        self.cancelled.fetch_add(1, Relaxed);
        Ok(None)
    }
}

#[tokio::test]
async fn members_of_a_batch_that_are_cancelled_or_deleted_leave_the_others_to_complete() -> Result<()> {
    let stage = Stage::set("leave").await?;
    let engine = Signalled::default();
    let worker = stage.start(engine.clone(), Pace { gathering: HOUR, ..pace() }, None)?;
    let time = k8s_openapi::jiff::Timestamp::now();
    for name in ["cancelled", "deleted", "stays"] {
        stage.assign_together(name, "complete", time, Some(3)).await?;
    }
    stage.until("the batch", || engine.begun.load(Relaxed) == 3).await;
    let cancel = Patch::Merge(serde_json::json!({"spec": {"cancel": true}}));
    stage.jobs().patch("cancelled", &PatchParams::default(), &cancel).await?;
    stage.jobs().delete("deleted", &kube::api::DeleteParams::default()).await?;
    stage.until("the end of two", || engine.cancelled.load(Relaxed) == 2).await;
    engine.go.cancel();
    assert_eq!(stage.ended("stays").await?.phase(), Phase::Completed);
    let cancelled = stage.jobs().get("cancelled").await?;
    assert!(cancelled.current_attempt_ended().is_none(), "its end is the operator's to write");
    stage.terminate(worker).await
}

#[tokio::test]
async fn a_job_that_comes_after_its_batch_began_is_handed_back_at_once() -> Result<()> {
    let stage = Stage::set("late").await?;
    let engine = Signalled::default();
    let worker = stage.start(engine.clone(), Pace { gathering: Duration::ZERO, ..pace() }, None)?;
    let time = k8s_openapi::jiff::Timestamp::now();
    stage.assign_together("begun", "complete", time, Some(2)).await?;
    stage.until("the batch", || engine.begun.load(Relaxed) == 1).await;
    stage.assign_together("late", "complete", time, Some(2)).await?;
    let late = stage.ended("late").await?;
    assert_eq!(late.current_attempt_ended().context("no attempt")?.outcome, Outcome::HandedBack);
    engine.go.cancel();
    assert_eq!(stage.ended("begun").await?.phase(), Phase::Completed);
    stage.terminate(worker).await?;
    assert_eq!(engine.begun.load(Relaxed), 1);
    Ok(())
}
