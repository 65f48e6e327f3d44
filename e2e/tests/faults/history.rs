//! Every revision of every job, as a watch that nothing happens to shows them.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;
use trellis_crds::GenerationJob;

/// A job as it was.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) job: GenerationJob,
    /// It is the last: the job is gone.
    pub(crate) deleted: bool,
}

/// Ends when dropped.
pub(crate) struct Recorder {
    task: JoinHandle<Result<()>>,
    revisions: Arc<Mutex<Vec<Revision>>>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// Records what happens to jobs from now on.
    pub(crate) async fn start(jobs: Api<GenerationJob>) -> Result<Self> {
        let start = jobs.list(&ListParams::default().limit(1)).await?.metadata.resource_version;
        let revisions = Arc::<Mutex<Vec<Revision>>>::default();
        let task = tokio::spawn(record(jobs, start.unwrap_or_default(), revisions.clone()));
        Ok(Self { task, revisions })
    }

    /// What was recorded so far, in the order in which it happened.
    ///
    /// # Errors
    /// When the record has a gap.
    pub(crate) fn revisions(&self) -> Result<Vec<Revision>> {
        anyhow::ensure!(!self.task.is_finished(), "the watch that records jobs ended");
        Ok(self.revisions.lock().unwrap().clone())
    }
}

async fn record(
    jobs: Api<GenerationJob>,
    mut version: String,
    revisions: Arc<Mutex<Vec<Revision>>>,
) -> Result<()> {
    loop {
        let mut events = jobs.watch(&WatchParams::default().timeout(290), &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            let (job, deleted) = match event {
                WatchEvent::Added(job) | WatchEvent::Modified(job) => (job, false),
                WatchEvent::Deleted(job) => (job, true),
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(error) => anyhow::bail!("the watch that records jobs failed: {error:?}"),
            };
            version = job.resource_version().unwrap_or(version);
            revisions.lock().unwrap().push(Revision { job, deleted });
        }
    }
}
