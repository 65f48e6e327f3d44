//! The loop of the replica that sends: what its watch shows becomes deliveries, each of them a task of its own.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _, future};
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use trellis_crds::GenerationJob;

use super::deliver::{Courier, host, task};
use super::progress::Progress;
use super::queue::{Key, Queue, Task};

/// Only jobs with a webhook are watched.
const WITH_WEBHOOK: &str = "spec.webhook.url!=";
/// How many jobs one answer to a list has, at most: of each only a little is kept.
const PAGE: u32 = 50;
/// How long the loop sleeps at most, whatever the clock is set to.
const TICK: Duration = Duration::from_secs(10);
/// How often the metrics are brought up to date at most: that looks at all that is due.
const SHOW: Duration = Duration::from_secs(1);
/// How long deliveries that are under way may take when the sender is to end.
const DRAIN: Duration = Duration::from_secs(16);

/// What the loop knows.
struct Sender {
    courier: Courier,
    /// The namespaces whose jobs are told; all where there is none.
    namespaces: Vec<String>,
    queue: Queue,
    progress: Progress,
    running: JoinSet<Done>,
    /// The jobs that a list has shown so far, by uid.
    listed: HashSet<String>,
    /// When the metrics were brought up to date last.
    shown: Instant,
}

/// What a task has done.
enum Done {
    /// A delivery of this job, of which that is to be delivered next.
    Delivery(Key, Option<Task>),
    /// Progress told to this host.
    Progress(String),
}

/// Sends until it is told to `resign`, and then ends what is under way.
pub(super) async fn send(courier: Courier, namespaces: Vec<String>, resign: CancellationToken) {
    let mut changes = pin!(changes(courier.client.clone()));
    let mut sender = Sender {
        courier,
        namespaces,
        queue: Queue::default(),
        progress: Progress::default(),
        running: JoinSet::new(),
        listed: HashSet::new(),
        shown: Instant::now(),
    };
    loop {
        sender.start();
        let wakes_at = sender.wakes_at();
        tokio::select! {
            () = resign.cancelled() => break,
            change = changes.next() => match change {
                Some(change) => sender.see(change),
                None => break,
            },
            Some(done) = sender.running.join_next() => sender.end(done),
            () = sleep_until(wakes_at) => {}
        }
    }
    sender.drain().await;
}

/// What becomes of the jobs that have a webhook.
fn changes(client: Client) -> impl Stream<Item = Event<DeserializeGuard<GenerationJob>>> + Send {
    let api: Api<DeserializeGuard<GenerationJob>> = Api::all(client);
    let config = watcher::Config::default().fields(WITH_WEBHOOK).page_size(PAGE);
    watcher(api, config).default_backoff().filter_map(|event| {
        if let Err(error) = &event {
            tracing::warn!(%error, "the watch of jobs with a webhook was interrupted");
        }
        future::ready(event.ok())
    })
}

impl Sender {
    fn see(&mut self, change: Event<DeserializeGuard<GenerationJob>>) {
        match change {
            Event::Init => self.listed.clear(),
            Event::InitApply(DeserializeGuard(Ok(job))) => {
                self.listed.extend(job.metadata.uid.clone());
                self.look_at(&job);
            }
            Event::Apply(DeserializeGuard(Ok(job))) => self.look_at(&job),
            Event::InitDone => self.progress.keep(&std::mem::take(&mut self.listed)),
            Event::Delete(DeserializeGuard(Ok(job))) => {
                self.progress.forget(job.metadata.uid.as_deref().unwrap_or_default());
                if let Some(key) = self.key(&job) {
                    self.queue.set(key, None);
                }
            }
            // One that cannot be read is of another version of the definition.
            Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
    }

    fn look_at(&mut self, job: &GenerationJob) {
        let Some(key) = self.key(job) else { return };
        self.queue.set(key, task(job));
        let Some(message) = self.progress.next(job, Timestamp::now()) else { return };
        let host = host(job);
        if !self.queue.occupy(&host) {
            return;
        }
        let (courier, job) = (self.courier.clone(), job.clone());
        self.running.spawn(async move {
            let told = AssertUnwindSafe(courier.tell(&job, &message)).catch_unwind().await;
            drop(told);
            Done::Progress(host)
        });
    }

    /// The job's name, where its namespace is one whose jobs are told.
    fn key(&self, job: &GenerationJob) -> Option<Key> {
        let namespace = job.metadata.namespace.clone().unwrap_or_default();
        let ours = self.namespaces.is_empty() || self.namespaces.contains(&namespace);
        ours.then(|| Key { namespace, name: job.metadata.name.clone().unwrap_or_default() })
    }

    /// Starts what has its turn.
    fn start(&mut self) {
        let now = Timestamp::now();
        while let Some((key, known)) = self.queue.start(now) {
            let courier = self.courier.clone();
            self.running.spawn(async move {
                let next = AssertUnwindSafe(courier.deliver(&key, &known)).catch_unwind().await;
                // The panic was logged by the panic hook. No job makes the others wait for ever.
                Done::Delivery(key, next.unwrap_or_default())
            });
        }
        if self.shown.elapsed() > SHOW {
            self.shown = Instant::now();
            self.courier.metrics.show(self.queue.backlog(), now);
        }
    }

    fn end(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Delivery(key, next)) => self.queue.finish(key, next),
            Ok(Done::Progress(host)) => self.queue.release(&host),
            Err(error) => tracing::error!(%error, "a delivery was cut off"),
        }
    }

    fn wakes_at(&self) -> Instant {
        let now = Timestamp::now();
        let wait =
            self.queue.wakes_at().map_or(TICK, |at| at.duration_since(now).try_into().unwrap_or_default());
        Instant::now() + wait.min(TICK)
    }

    /// Lets what is under way end, so that it is written down and nobody sends it again.
    async fn drain(mut self) {
        let all = async { while self.running.join_next().await.is_some() {} };
        tokio::select! {
            () = all => {}
            () = sleep(DRAIN) => tracing::warn!("deliveries were cut off; they are sent again"),
        }
        self.courier.metrics.show((0, None), Timestamp::now());
    }
}
