//! Waiting for what becomes of a job.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::followers::Follower;
use super::store::{Jobs, Seen};
use super::{JobError, JobId};
use crate::app::App;
use crate::auth::Caller;

/// How often a job that waits is looked at for its place in the queue, which changes with other jobs.
const LOOK: Duration = Duration::from_secs(1);

/// Follows a job of the caller.
#[derive(Debug)]
pub(crate) struct Following {
    jobs: Jobs,
    caller: Caller,
    id: JobId,
    follower: Follower,
    stopping: CancellationToken,
}

impl Following {
    /// Follows the job from now on, for as long as the service runs.
    pub(crate) fn new(app: &App, caller: Caller, id: JobId) -> Self {
        let follower = app.jobs.follow(&caller, &id);
        Self { jobs: app.jobs.clone(), caller, id, follower, stopping: app.stopping.clone() }
    }

    /// What `news` makes of the job, as soon as it makes something of it; `None` when the service stops.
    pub(crate) async fn until<T>(
        &mut self,
        mut news: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<Option<T>, JobError> {
        loop {
            self.follower.catch_up();
            let seen = self.jobs.see(&self.caller, &self.id).await?;
            if let Some(news) = news(&seen) {
                return Ok(Some(news));
            }
            tokio::select! {
                () = self.follower.changed() => {}
                () = tokio::time::sleep(LOOK), if seen.queue_position.is_some() => {}
                () = self.stopping.cancelled() => return Ok(None),
            }
        }
    }

    /// The job as soon as it has ended; `None` where it does not within `limit`, or cannot be looked at.
    pub(crate) async fn end(&mut self, limit: Duration) -> Option<Seen> {
        self.within(limit, |seen| seen.job.is_finished().then(|| seen.clone())).await
    }

    /// As [`until`](Self::until), but for `limit` at most, and `None` where the job cannot be looked at.
    pub(crate) async fn within<T>(
        &mut self,
        limit: Duration,
        news: impl FnMut(&Seen) -> Option<T>,
    ) -> Option<T> {
        tokio::time::timeout(limit, self.until(news)).await.ok()?.ok()?
    }
}
