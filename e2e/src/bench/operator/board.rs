//! What a watch shows of the jobs of a namespace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use trellis_crds::conditions::{self, SCHEDULED};
use trellis_crds::{GenerationJob, Phase};

use crate::Namespace;

/// How many requests the one who creates and deletes jobs has under way.
const AT_ONCE: usize = 32;

/// The jobs of a namespace, as a watch shows them.
pub(super) struct Board {
    namespace: Namespace,
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    _task: JoinSet<()>,
}

/// What was seen of a job; kept when it is gone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) phase: Option<Phase>,
    /// When its worker began, by the worker's clock, which is this machine's.
    pub(super) started: Option<Timestamp>,
    /// Whether it was told why it waits.
    pub(super) explained: bool,
    pub(super) gone: bool,
}

impl Seen {
    fn of(job: &GenerationJob) -> Self {
        let status = job.status.as_ref();
        Self {
            phase: Some(job.phase()),
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            explained: status.is_some_and(|status| conditions::get(&status.conditions, SCHEDULED).is_some()),
            gone: false,
        }
    }
}

impl Board {
    /// Watches; every job that is completed is deleted at once where `tidy`.
    pub(super) fn watch(namespace: &Namespace, tidy: bool) -> Self {
        let seen = Arc::default();
        let mut task = JoinSet::new();
        task.spawn(follow(namespace.clone(), Arc::clone(&seen), tidy));
        Self { namespace: namespace.clone(), seen, _task: task }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        lock(&self.seen)
    }

    pub(super) fn count(&self, holds: impl Fn(&Seen) -> bool) -> usize {
        self.seen().values().filter(|seen| holds(seen)).count()
    }

    /// Waits until so many jobs are as `holds` says.
    pub(super) async fn until(&self, what: &str, jobs: usize, holds: impl Fn(&Seen) -> bool) -> Result<()> {
        let limit = Duration::from_secs(600);
        let start = Instant::now();
        loop {
            let now = self.count(&holds);
            if now >= jobs {
                return Ok(());
            }
            ensure!(start.elapsed() < limit, "after {limit:?} only {now} of {jobs} jobs are {what}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Creates jobs of these names that are played so, many at a time.
    pub(super) async fn create(&self, names: &[String], play: &str) -> Result<Vec<GenerationJob>> {
        let created = stream::iter(names).map(async |name| create(&self.namespace, name, play).await);
        created.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Deletes jobs, many at a time.
    pub(super) async fn delete(&self, names: &[String]) -> Result<()> {
        let mut deleted = stream::iter(names)
            .map(async |name| delete(&self.namespace, name).await)
            .buffer_unordered(AT_ONCE);
        while let Some(result) = deleted.next().await {
            result?;
        }
        Ok(())
    }
}

/// `count` names that begin with `prefix`.
pub(super) fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number:05}")).collect()
}

/// Creates a job that is played so.
pub(super) async fn create(namespace: &Namespace, name: &str, play: &str) -> Result<GenerationJob> {
    let spec = json!({"input": {"image": {"sources": [{"uri": "gs://photos/cup.png"}]}}});
    let mut job = GenerationJob::new(name, serde_json::from_value(spec)?);
    job.labels_mut().insert("play".into(), play.into());
    Ok(namespace.api::<GenerationJob>().create(&PostParams::default(), &job).await?)
}

async fn delete(namespace: &Namespace, name: &str) -> Result<()> {
    namespace.api::<GenerationJob>().delete(name, &DeleteParams::default()).await?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(namespace: Namespace, seen: Arc<Mutex<HashMap<String, Seen>>>, tidy: bool) {
    let mut changes =
        watcher(namespace.api::<GenerationJob>(), watcher::Config::default()).default_backoff().boxed();
    let mut deletions = JoinSet::new();
    while let Some(change) = changes.next().await {
        match change {
            Ok(Event::Apply(job) | Event::InitApply(job)) => {
                let now = Seen::of(&job);
                let before = lock(&seen).insert(job.name_any(), now);
                let newly =
                    now.phase == Some(Phase::Completed) && before.and_then(|seen| seen.phase) != now.phase;
                if tidy && newly {
                    let (namespace, name) = (namespace.clone(), job.name_any());
                    deletions.spawn(async move { delete(&namespace, &name).await });
                }
            }
            Ok(Event::Delete(job)) => {
                lock(&seen).entry(job.name_any()).and_modify(|seen| seen.gone = true);
            }
            _ => {}
        }
        while deletions.try_join_next().is_some() {}
    }
}
