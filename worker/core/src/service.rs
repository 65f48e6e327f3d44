//! The worker's loop: watch, take one job at a time, let go of it when it is no longer ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::{join, join_all};
use futures::stream::BoxStream;
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
use crate::outage::Outage;

type Guarded = DeserializeGuard<GenerationJob>;
type Events = BoxStream<'static, watcher::Result<Event<Guarded>>>;

/// How often the loop vouches for the process, and how long its word holds.
const HEARTBEAT: Duration = Duration::from_secs(10);
const ALIVE: Duration = Duration::from_secs(60);

/// After how many faults in a row the worker ends: its device may be in a state that only a new process mends.
const FAULTS: u32 = 3;

/// Why a worker ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It fails at every job.
    #[error(
        "the last {FAULTS} jobs failed by a fault of this worker; it ends so that another can take its place"
    )]
    Faulty,
    /// It cannot report on a job.
    #[error(
        "the API server refuses what this worker reports on a job; it ends so that the operator sees that the attempt is over. Check the \
         worker's rights, and that the CRDs and the worker's image are of the same version"
    )]
    Refused,
}

/// Serves jobs until `shutdown` ends or the worker has made as many attempts as it may, and then hands back what is not done.
///
/// `namespace` is the only one that jobs are taken from; `None` takes them from all. `health` is ready while the worker sees the jobs that it
/// is given.
///
/// # Errors
/// When the worker ends by its own fault. It has reported on every job that it took if it is [`Ended::Faulty`].
pub async fn serve<E: Engine>(
    worker: Worker<E>,
    namespace: Option<String>,
    health: Health,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Ended> {
    let mut service = Service::new(worker, namespace, health);
    let result = service.run(shutdown).await;
    service.end().await;
    result
}

/// An attempt that is being made.
struct Running {
    attempt: AttemptId,
    stop: watch::Sender<Stop>,
    task: JoinHandle<End>,
}

struct Service<E> {
    worker: Arc<Worker<E>>,
    namespace: Option<String>,
    health: Health,
    events: Events,
    outage: Outage,
    /// Whether the watch has failed for so long that jobs may wait here unseen.
    blind: bool,
    desk: Desk,
    running: Option<Running>,
    /// How many attempts were begun.
    taken: u32,
    /// How many of the last attempts failed by a fault of the worker.
    faults: u32,
}

impl<E: Engine> Service<E> {
    fn new(worker: Worker<E>, namespace: Option<String>, health: Health) -> Self {
        Self {
            events: watch_jobs(&worker, namespace.as_deref()),
            desk: Desk::new(worker.identity.clone()),
            worker: Arc::new(worker),
            namespace,
            health,
            outage: Outage::default(),
            blind: false,
            running: None,
            taken: 0,
            faults: 0,
        }
    }

    async fn run(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), Ended> {
        let mut heartbeat = interval(HEARTBEAT);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                end = ended(&mut self.running) => self.settle(end)?,
                Some(event) = self.events.next() => self.observe(event),
                _ = heartbeat.tick() => self.health.keep_alive(ALIVE),
            }
            match &self.running {
                Some(current) if !self.desk.holds(&current.attempt) => {
                    current.stop.send_replace(Stop::LetGo);
                }
                Some(_) => {}
                None if self.worker.max_jobs.is_some_and(|most| self.taken >= most) => {
                    tracing::info!(jobs = self.taken, "the worker has had as many jobs as it may; it ends");
                    return Ok(());
                }
                None => self.take(),
            }
        }
    }

    /// Takes note of how the running attempt ended.
    fn settle(&mut self, end: End) -> Result<(), Ended> {
        if let Some(Running { attempt, .. }) = self.running.take() {
            self.desk.end(attempt);
        }
        self.faults = if end.is_fault() { self.faults + 1 } else { 0 };
        match end {
            End::Refused => Err(Ended::Refused),
            _ if self.faults >= FAULTS => Err(Ended::Faulty),
            _ => Ok(()),
        }
    }

    /// Starts the next attempt, where there is one.
    fn take(&mut self) {
        let Some((attempt, job)) = self.desk.next() else { return };
        let (stop, stopped) = watch::channel(Stop::No);
        let task = attempt::make(self.worker.clone(), attempt.clone(), job.clone(), stopped);
        self.running = Some(Running { attempt, stop, task: tokio::spawn(task) });
        self.taken += 1;
    }

    fn observe(&mut self, event: watcher::Result<Event<Guarded>>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.watch_failed(&error),
        };
        self.outage.over();
        match event {
            Event::Apply(job) => match readable(job) {
                Ok(job) => self.desk.put(job),
                Err(uid) => self.desk.remove(&uid),
            },
            Event::Delete(job) => self.desk.remove(&job.uid().unwrap_or_default()),
            Event::Init => self.desk.begin_list(),
            Event::InitApply(job) => {
                if let Ok(job) = readable(job) {
                    self.desk.list(job);
                }
            }
            Event::InitDone => {
                self.desk.end_list();
                self.blind = false;
                self.health.set_ready();
            }
        }
    }

    fn watch_failed(&mut self, error: &watcher::Error) {
        let error = chain(error);
        tracing::warn!(error, "the watch of jobs failed; trying again");
        if self.blind || self.outage.failed(Instant::now()) < self.worker.pace.blindness {
            return;
        }
        self.blind = true;
        self.health.set_not_ready(format!("the watch of jobs fails: {error}"));
        // A watch that goes on where it was does not say so: a new one begins with a list, whose end is heard.
        self.events = watch_jobs(&self.worker, self.namespace.as_deref());
    }

    /// Hands back what is not done: the running attempt, and whatever was assigned besides.
    async fn end(mut self) {
        self.health.set_not_ready("shutting down");
        let running = self.running.take();
        let begun = running.as_ref().map(|running| running.attempt.clone());
        let others = self.desk.open().filter(|(attempt, _)| begun.as_ref() != Some(attempt));
        let others = join_all(
            others.map(|(attempt, job)| attempt::decline(self.worker.clone(), attempt, job.clone())),
        );
        let running = async {
            if let Some(running) = running {
                running.stop.send_replace(Stop::HandBack);
                let _ = running.task.await;
            }
        };
        if timeout(self.worker.pace.farewell, join(running, others)).await.is_err() {
            tracing::error!("what this worker had could not be handed back in time");
        }
    }
}

fn watch_jobs<E>(worker: &Worker<E>, namespace: Option<&str>) -> Events {
    let client = worker.client.clone();
    let api: Api<Guarded> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let ours = format!("status.assignment.worker={}", worker.identity.pod_name);
    let lasts = u32::try_from(worker.pace.watch.as_secs()).unwrap_or(u32::MAX).max(1);
    watcher(api, watcher::Config::default().fields(&ours).timeout(lasts)).default_backoff().boxed()
}

/// The job, or the uid of one that this program cannot read.
fn readable(job: Guarded) -> Result<GenerationJob, String> {
    job.0.map_err(|invalid| {
        let name = invalid.metadata.name.unwrap_or_default();
        tracing::error!(name, error = invalid.error, "a job cannot be read; is the CRD of another version?");
        invalid.metadata.uid.unwrap_or_default()
    })
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
