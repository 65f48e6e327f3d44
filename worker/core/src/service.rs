//! The worker's loop: watch, take one batch of jobs at a time, let go of what is no longer ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::{join_all, join3};
use futures::stream::BoxStream;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep_until, timeout};
use trellis_crds::{FailureReason, GenerationJob};
use trellis_telemetry::Health;

use crate::attempt::{self, End, Member, Stop};
use crate::desk::{AttemptId, Desk, Together};
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

/// Attempts that are being made together: one, or a batch.
struct Running {
    members: Vec<(AttemptId, watch::Sender<Stop>)>,
    /// Of a batch, what its jobs have in common.
    batch: Option<Together>,
    task: JoinHandle<Vec<End>>,
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
    /// Jobs that are being handed back beside it.
    declining: JoinSet<()>,
    /// Until when the rest of the batch that is next is waited for.
    gathers_until: Option<Instant>,
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
            declining: JoinSet::new(),
            gathers_until: None,
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
                ends = ended(&mut self.running) => self.settle(&ends)?,
                () = passed(self.gathers_until) => {}
                Some(event) = self.events.next() => self.observe(event),
                _ = heartbeat.tick() => self.health.keep_alive(ALIVE),
            }
            match &self.running {
                Some(current) => {
                    for (_, stop) in current.members.iter().filter(|(attempt, _)| !self.desk.holds(attempt)) {
                        stop.send_replace(Stop::LetGo);
                    }
                    self.decline_late();
                }
                None if self.worker.max_jobs.is_some_and(|most| self.taken >= most) => {
                    tracing::info!(jobs = self.taken, "the worker has had as many jobs as it may; it ends");
                    return Ok(());
                }
                None => self.take(),
            }
        }
    }

    /// Takes note of how the running attempts ended.
    fn settle(&mut self, ends: &[End]) -> Result<(), Ended> {
        for (attempt, _) in self.running.take().into_iter().flat_map(|running| running.members) {
            self.desk.end(attempt);
        }
        // What fails together fails by one fault.
        self.faults = if ends.iter().all(|end| end.is_fault()) { self.faults + 1 } else { 0 };
        if ends.iter().any(|end| matches!(end, End::Refused)) {
            Err(Ended::Refused)
        } else if self.faults >= FAULTS {
            Err(Ended::Faulty)
        } else {
            Ok(())
        }
    }

    /// Starts the next attempts, where there are any, once those that were assigned together are there or do not come.
    fn take(&mut self) {
        let (mut next, complete) = self.desk.next_batch();
        if !complete {
            let gathering = self.worker.pace.gathering;
            if Instant::now() < *self.gathers_until.get_or_insert_with(|| Instant::now() + gathering) {
                return;
            }
        }
        self.gathers_until = None;
        let room = self.worker.max_jobs.map_or(u32::MAX, |most| most.saturating_sub(self.taken));
        next.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        let batch = next.first().and_then(|(_, job)| Together::of(job));
        let (mut running, mut members) = (Vec::new(), Vec::new());
        for (attempt, job) in next {
            let (stop, stopped) = watch::channel(Stop::No);
            members.push(Member { attempt: attempt.clone(), job: job.clone(), stop: stopped });
            running.push((attempt, stop));
        }
        if members.is_empty() {
            return;
        }
        self.taken += u32::try_from(members.len()).unwrap_or(u32::MAX);
        let task = tokio::spawn(attempt::make(self.worker.clone(), members));
        self.running = Some(Running { members: running, batch, task });
    }

    /// Hands back what came too late for its batch, which others can run sooner.
    fn decline_late(&mut self) {
        while self.declining.try_join_next().is_some() {}
        let Some(Running { members, batch: Some(batch), .. }) = &self.running else { return };
        let begun: Vec<_> = members.iter().map(|(attempt, _)| attempt).collect();
        let late = self.desk.late(*batch, &begun).into_iter().map(|(attempt, job)| (attempt, job.clone()));
        for (attempt, job) in late.collect::<Vec<_>>() {
            self.desk.end(attempt.clone());
            self.declining.spawn(attempt::decline(self.worker.clone(), attempt, job));
        }
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

    /// Hands back what is not done: the running attempts, and whatever was assigned besides.
    async fn end(mut self) {
        self.health.set_not_ready("shutting down");
        let running = self.running.take();
        let begun = running.iter().flat_map(|running| &running.members).map(|(attempt, _)| attempt.clone());
        let begun: Vec<_> = begun.collect();
        let others = self.desk.open().filter(|(attempt, _)| !begun.contains(attempt));
        let others = join_all(
            others.map(|(attempt, job)| attempt::decline(self.worker.clone(), attempt, job.clone())),
        );
        let running = async {
            if let Some(running) = running {
                for (_, stop) in &running.members {
                    stop.send_replace(Stop::HandBack);
                }
                let _ = running.task.await;
            }
        };
        let declining = self.declining.join_all();
        if timeout(self.worker.pace.farewell, join3(running, others, declining)).await.is_err() {
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

/// Ends when the running attempts do; never while there are none.
async fn ended(running: &mut Option<Running>) -> Vec<End> {
    match running {
        Some(running) => (&mut running.task).await.unwrap_or_else(|panic| {
            tracing::error!(error = chain(&panic), "an attempt ended by a panic");
            vec![End::Failed(FailureReason::Internal)]
        }),
        None => std::future::pending().await,
    }
}

/// Ends at `time`; never where there is none.
async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
