//! Plays the kubelet and the workers of one namespace: pods get ready, and jobs are reported on as `docs/architecture.md` asks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinSet;
use trellis_crds::conditions::{self, NewCondition, READY, RECONCILING, reason};
use trellis_crds::{
    Attempt, FailureReason, GenerationJob, GenerationJobStatus, Outcome, OutputFile, Phase, StageTiming,
};
use trellis_e2e::Namespace;
use trellis_e2e::kubelet::Kubelet;

/// Makes every pod ready, but for those of pools that are labelled `start: never`, and does with each job as its label `play` says:
/// `complete`, `hold`, `transient`, `invalid` or `internal`. Ends when dropped.
pub(crate) struct Workers {
    _kubelet: Kubelet,
    _task: JoinSet<()>,
    log: Arc<Mutex<Log>>,
}

/// What the workers saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// The names of jobs in the order in which their attempts began.
    pub(crate) begun: Vec<String>,
    /// Jobs that came to a worker which had another one.
    pub(crate) clashes: Vec<String>,
    running: BTreeSet<(String, String)>,
}

impl Workers {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        let log = Arc::<Mutex<Log>>::default();
        let mut task = JoinSet::new();
        task.spawn(run_jobs(namespace.api(), log.clone()));
        Self { _kubelet: Kubelet::play(namespace.api()), _task: task, log }
    }

    pub(crate) fn log(&self) -> Log {
        locked(&self.log).clone()
    }
}

async fn run_jobs(jobs: Api<GenerationJob>, log: Arc<Mutex<Log>>) {
    let changes = watcher(jobs.clone(), watcher::Config::default()).default_backoff();
    let react = async |change| match change {
        Ok(watcher::Event::Apply(job) | watcher::Event::InitApply(job)) => take(&jobs, job, &log).await,
        Ok(watcher::Event::Delete(job)) => locked(&log).ended(&job.name_any()),
        _ => {}
    };
    changes.for_each_concurrent(64, react).await;
}

fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().expect("nothing panics while it holds the log")
}

async fn take(jobs: &Api<GenerationJob>, mut job: GenerationJob, log: &Mutex<Log>) {
    let name = job.name_any();
    let runs = job.phase() == Phase::Processing && job.current_attempt_ended().is_none();
    let worker = job.assignment().map(|assignment| assignment.worker.clone()).filter(|_| runs);
    locked(log).note(&name, worker.clone());
    let play = job.labels().get("play").cloned().unwrap_or_default();
    let Some(status) = job.status.as_mut().filter(|_| worker.is_some()) else { return };
    match play.as_str() {
        "complete" => complete(status, &name),
        "transient" => end(status, Outcome::Failed, Some(FailureReason::Transient)),
        "invalid" => end(status, Outcome::Failed, Some(FailureReason::InvalidInput)),
        "internal" => end(status, Outcome::Failed, Some(FailureReason::Internal)),
        _ => return,
    }
    // On a conflict the next change is looked at.
    let _ = jobs.replace_status(&name, &PostParams::default(), &job).await;
}

fn end(status: &mut GenerationJobStatus, outcome: Outcome, reason: Option<FailureReason>) {
    let Some(assignment) = status.assignment.clone() else { return };
    let (number, worker, start) = (assignment.attempt, assignment.worker, assignment.time);
    let end = MicroTime(Timestamp::now());
    let message = Some("as the test asked".into());
    status.record_attempt(Attempt { number, worker, start, end, outcome, reason, message });
}

fn complete(status: &mut GenerationJobStatus, name: &str) {
    end(status, Outcome::Succeeded, None);
    status.phase = Some(Phase::Completed);
    status.start_time = status.assignment.as_ref().map(|assignment| assignment.time.clone());
    status.completion_time = Some(MicroTime(Timestamp::now()));
    status.timings = vec![StageTiming { stage: "fetch".into(), milliseconds: 1 }];
    status.outputs = vec![OutputFile {
        format: "glb".into(),
        uri: format!("gs://assets/out/{name}/model.glb"),
        bytes: 1,
        sha256: "0".repeat(64),
    }];
    for (kind, holds) in [(READY, true), (RECONCILING, false)] {
        let new = NewCondition {
            kind,
            holds,
            reason: reason::COMPLETED,
            message: "The asset is there.",
            observed_generation: status.observed_generation,
        };
        conditions::set(&mut status.conditions, new, Timestamp::now());
    }
}

impl Log {
    fn ended(&mut self, job: &str) {
        self.running.retain(|(_, running)| running != job);
    }

    fn note(&mut self, job: &str, worker: Option<String>) {
        let known = self.running.iter().find(|(_, running)| running == job).cloned();
        if known.as_ref().map(|(worker, _)| worker) == worker.as_ref() {
            return;
        }
        known.iter().for_each(|known| _ = self.running.remove(known));
        let Some(worker) = worker else { return };
        self.begun.push(job.to_owned());
        if let Some((_, other)) = self.running.iter().find(|(busy, _)| *busy == worker) {
            self.clashes.push(format!("{worker} has {other} and gets {job}"));
        }
        self.running.insert((worker, job.to_owned()));
    }
}
