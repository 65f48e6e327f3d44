//! The worker's loop: watch, take one job at a time, let go of it when it is no longer ours.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use trellis_crds::{FailureReason, GenerationJob};
use trellis_telemetry::Health;

use crate::attempt::{self, End, Stop};
use crate::desk::{AttemptId, Desk};
use crate::engine::{Engine, Worker};
use crate::failure::chain;

type Guarded = DeserializeGuard<GenerationJob>;

/// How often the loop vouches for the process, and how long its word holds.
const HEARTBEAT: Duration = Duration::from_secs(10);
const ALIVE: Duration = Duration::from_secs(60);
/// How long an attempt may take to end after the pod was told to.
const FAREWELL: Duration = Duration::from_secs(20);

/// After how many faults in a row the worker ends: its device may be in a state that only a new process mends.
const FAULTS: u32 = 3;

/// How long one watch request may last, in seconds. A connection that died silently is noticed little later.
const WATCH_SECONDS: u32 = 60;

/// The worker fails at every job.
#[derive(Debug, thiserror::Error)]
#[error(
    "the last {FAULTS} jobs failed by a fault of this worker; it ends so that another can take its place"
)]
pub struct Faulty;

/// An attempt that is being made.
struct Running {
    attempt: AttemptId,
    stop: watch::Sender<Stop>,
    task: JoinHandle<End>,
}

/// Serves jobs until `shutdown` ends, and then hands back what is not done.
///
/// `namespace` is the only one that jobs are taken from; `None` takes them from all.
///
/// # Errors
/// When several jobs in a row failed by a fault of this worker.
pub async fn serve<E: Engine>(
    worker: Worker<E>,
    namespace: Option<String>,
    health: Health,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Faulty> {
    let worker = Arc::new(worker);
    let mut desk = Desk::new(worker.identity.clone());
    let mut running: Option<Running> = None;
    let mut faults = 0;
    let mut heartbeat = interval(HEARTBEAT);
    let mut events = std::pin::pin!(watch_jobs(&worker, namespace));
    let mut shutdown = std::pin::pin!(shutdown);
    while faults < FAULTS {
        tokio::select! {
            () = &mut shutdown => break,
            end = ended(&mut running) => {
                faults = if end.is_fault() { faults + 1 } else { 0 };
                if let Some(Running { attempt, .. }) = running.take() {
                    desk.end(attempt);
                }
            }
            Some(event) = events.next() => observe(&mut desk, event, &health),
            _ = heartbeat.tick() => health.keep_alive(ALIVE),
        }
        match &running {
            Some(current) if !desk.holds(&current.attempt) => drop(current.stop.send_replace(Stop::LetGo)),
            Some(_) => {}
            None => running = take(&worker, &desk, Stop::No),
        }
    }
    health.set_not_ready("shutting down");
    hand_back(&worker, &desk, running).await;
    if faults < FAULTS { Ok(()) } else { Err(Faulty) }
}

fn watch_jobs<E: Engine>(
    worker: &Worker<E>,
    namespace: Option<String>,
) -> impl Stream<Item = watcher::Result<Event<Guarded>>> + use<E> {
    let client = worker.client.clone();
    let api: Api<Guarded> = match namespace {
        Some(namespace) => Api::namespaced(client, &namespace),
        None => Api::all(client),
    };
    let ours = format!("status.assignment.worker={}", worker.identity.pod_name);
    watcher(api, watcher::Config::default().fields(&ours).timeout(WATCH_SECONDS)).default_backoff()
}

fn observe(desk: &mut Desk, event: watcher::Result<Event<Guarded>>, health: &Health) {
    match event {
        Ok(Event::Apply(job)) => match readable(job) {
            Ok(job) => desk.put(job),
            Err(uid) => desk.remove(&uid),
        },
        Ok(Event::Delete(job)) => desk.remove(&job.uid().unwrap_or_default()),
        Ok(Event::Init) => desk.begin_list(),
        Ok(Event::InitApply(job)) => {
            if let Ok(job) = readable(job) {
                desk.list(job);
            }
        }
        Ok(Event::InitDone) => {
            desk.end_list();
            health.set_ready();
        }
        Err(error) => tracing::warn!(error = chain(&error), "the watch of jobs failed; trying again"),
    }
}

/// The job, or the uid of one that this program cannot read.
fn readable(job: Guarded) -> Result<GenerationJob, String> {
    job.0.map_err(|invalid| {
        let name = invalid.metadata.name.unwrap_or_default();
        tracing::error!(name, error = invalid.error, "a job cannot be read; is the CRD of another version?");
        invalid.metadata.uid.unwrap_or_default()
    })
}

/// Starts the next attempt, where there is one.
fn take<E: Engine>(worker: &Arc<Worker<E>>, desk: &Desk, stop: Stop) -> Option<Running> {
    let (attempt, job) = desk.next()?;
    let (stop, stopped) = watch::channel(stop);
    let task = attempt::make(worker.clone(), attempt.clone(), job.clone(), stopped);
    Some(Running { attempt, stop, task: tokio::spawn(task) })
}

/// Ends when the running attempt does; never while there is none.
async fn ended(running: &mut Option<Running>) -> End {
    match running {
        Some(running) => (&mut running.task).await.unwrap_or_else(|panic| {
            tracing::error!(error = chain(&panic), "an attempt ended by a panic");
            End::Failed(FailureReason::Internal)
        }),
        None => std::future::pending().await,
    }
}

/// Hands back the running attempt, or one that was assigned in the last moment.
async fn hand_back<E: Engine>(worker: &Arc<Worker<E>>, desk: &Desk, running: Option<Running>) {
    let Some(running) = running.or_else(|| take(worker, desk, Stop::HandBack)) else { return };
    running.stop.send_replace(Stop::HandBack);
    if timeout(FAREWELL, running.task).await.is_err() {
        tracing::error!("the attempt did not end in time");
    }
}
