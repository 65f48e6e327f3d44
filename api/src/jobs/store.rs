//! Reading jobs, making them, and ending them.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, future};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::sync::watch;
use trellis_crds::{GenerationJob, Phase, WorkerPool, labels};

use super::archive::Archive;
use super::cache::{self, Cache, Key};
use super::followers::{Follower, Followers};
use super::page::{Cursor, Filter, Selection};
use super::{JobError, JobId, PATIENCE};
use crate::auth::Caller;
use crate::cluster::{self, ClusterError, Freshness};
use crate::limits::quotas::Known;

/// Every job that came over REST, in whatever namespace: read from a watch, written to the API server, and once it is gone from there, read
/// from the archive.
#[derive(Clone)]
pub(crate) struct Jobs {
    client: Client,
    cache: Arc<RwLock<Cache>>,
    pools: Store<WorkerPool>,
    /// Whether all jobs were read once.
    listed: watch::Receiver<bool>,
    followers: Followers,
    freshness: Freshness,
    archive: Archive,
}

/// A job as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The job.
    pub job: Arc<GenerationJob>,
    /// Its place in its pool's queue, 1 for the next, while it waits.
    pub queue_position: Option<usize>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl Jobs {
    /// The jobs, and the future that keeps up with them. They wait for one of `pools`, of which those in the namespace `shared` serve every
    /// namespace.
    pub(crate) fn watch(
        client: Client,
        archive: Archive,
        pools: Store<WorkerPool>,
        shared: String,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let ours =
            watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGED_BY_API));
        let freshness = Freshness::new();
        let changes = cluster::changes(Api::all(freshness.listen(client.clone())), ours);
        let (listing, listed) = watch::channel(false);
        let cache = Arc::new(RwLock::new(Cache::new(shared)));
        let jobs = Self { client, cache, pools, listed, followers: Followers::default(), freshness, archive };
        let keeper = jobs.clone();
        let fill = changes.for_each(move |event| {
            match event {
                Ok(event) => keeper.take_in(event, &listing),
                Err(_) => keeper.freshness.broke(),
            }
            future::ready(())
        });
        (jobs, fill)
    }

    fn take_in(&self, event: Event<GenerationJob>, listing: &watch::Sender<bool>) {
        let all_read = matches!(event, Event::InitDone);
        self.freshness.heard();
        let changed = self.cache.write().unwrap_or_else(PoisonError::into_inner).take_in(event);
        if all_read {
            listing.send_replace(true);
        }
        changed.iter().for_each(|key| self.followers.tell(key));
    }

    fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all jobs were read once. False where the watch was given up.
    pub(crate) async fn ready(&self) -> bool {
        self.listed.clone().wait_for(|listed| *listed).await.is_ok()
    }

    /// How old what is answered may be; `None` while the API server tells of changes.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.freshness.age()
    }

    /// Hears of the changes of the caller's job from now on.
    pub(crate) fn follow(&self, caller: &Caller, id: &JobId) -> Follower {
        self.followers.follow(key(caller, id))
    }

    /// The caller's job of this id as [`find`](Self::find) finds it, and its place in the queue.
    pub(crate) async fn see(&self, caller: &Caller, id: &JobId) -> Result<Seen, JobError> {
        let job = self.find(caller, id).await?;
        Ok(Seen { queue_position: self.queue_position(&job), job })
    }

    /// The caller's job of this id, also when its object is gone.
    ///
    /// The API server is asked only for what its watch may not have told yet, so that following jobs costs it nothing: everything before the
    /// first reading, later a job that another replica or this one may just have created.
    pub(crate) async fn find(&self, caller: &Caller, id: &JobId) -> Result<Arc<GenerationJob>, JobError> {
        if let Some(job) = self.watched(caller, id) {
            return job.ok_or(JobError::NotFound);
        }
        // The record may be of an attempt after which the job goes on, so until all jobs are known it does not come first.
        if !*self.listed.borrow()
            && let Some(job) = self.live(caller, id).await?
        {
            return Ok(job);
        }
        match self.archive.find(caller, id).await {
            Ok(job) if belongs_to(&job, caller) => Ok(Arc::new(job)),
            Ok(_) => Err(JobError::NotFound),
            Err(error) if id.may_be_new(SystemTime::now()) => self.live(caller, id).await?.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// The caller's job of this id, where it is in Kubernetes: the API server is asked where the watch does not know it.
    pub(crate) async fn live(
        &self,
        caller: &Caller,
        id: &JobId,
    ) -> Result<Option<Arc<GenerationJob>>, ClusterError> {
        let job = match self.watched(caller, id) {
            Some(job) => job,
            None => match cluster::call(self.api(caller).get(id.as_str())).await {
                Ok(job) => Some(Arc::new(job)),
                Err(ClusterError::NotFound) => None,
                Err(error) => return Err(error),
            },
        };
        Ok(job.filter(|job| belongs_to(job, caller)))
    }

    /// What the watch last told of the job of this id in the caller's namespace; `Some(None)` of one that is not the caller's.
    fn watched(&self, caller: &Caller, id: &JobId) -> Option<Option<Arc<GenerationJob>>> {
        let packed = match self.cache().get(&key(caller, id))? {
            (user, packed) if user == caller.user || caller.is_admin() => packed,
            _ => return Some(None),
        };
        // Packed here, so that it can be unpacked.
        packed
            .unpack()
            .inspect_err(|error| tracing::error!(%error, "a job cannot be unpacked"))
            .ok()
            .map(|job| Some(Arc::new(job)))
    }

    /// The place of a job that waits.
    fn queue_position(&self, job: &GenerationJob) -> Option<usize> {
        if job.phase() != Phase::Pending {
            return None;
        }
        let key = Key { namespace: job.namespace()?, name: job.name_any() };
        let pools = self.pools.state();
        if let Ok(position) = self.cache().position(&key, &pools) {
            return position;
        }
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        cache.learn_pools(&pools);
        cache.position(&key, &pools).ok().flatten()
    }

    /// The caller's jobs that fit `filter`, the newest first, at most `limit` of them from `after` on.
    pub(crate) fn select(
        &self,
        caller: &Caller,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> (Vec<Seen>, Selection) {
        let selection = self.cache().select(caller, filter, after, limit);
        let jobs = selection.jobs.iter().filter_map(|job| job.unpack().ok());
        let seen = jobs.map(|job| Seen { queue_position: self.queue_position(&job), job: Arc::new(job) });
        (seen.collect(), selection)
    }

    /// The jobs that the caller has made, also where the caller may see those of others.
    #[must_use]
    pub(crate) fn made_by(&self, caller: &Caller) -> Vec<Known> {
        self.cache().made_by(caller)
    }

    /// Creates a job.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        job: &GenerationJob,
    ) -> Result<GenerationJob, ClusterError> {
        cluster::call(self.api(caller).create(&Default::default(), job)).await
    }

    /// Changes the caller's job by a merge patch.
    pub(crate) async fn change(
        &self,
        caller: &Caller,
        id: &JobId,
        patch: &Value,
    ) -> Result<(), ClusterError> {
        // Nothing of another user is ever changed.
        self.live(caller, id).await?.ok_or(ClusterError::NotFound)?;
        let (api, parameters) = (self.api(caller), PatchParams::default());
        cluster::call(api.patch(id.as_str(), &parameters, &Patch::Merge(patch))).await.map(drop)
    }

    /// Deletes the caller's job, and so ends it in mid-run; then its record. Where the record cannot be deleted, doing it all again does.
    pub(crate) async fn delete(&self, caller: &Caller, id: &JobId) -> Result<(), JobError> {
        let follower = self.follow(caller, id);
        let is_live = self.live(caller, id).await?.is_some();
        if is_live {
            match cluster::call(self.api(caller).delete(id.as_str(), &DeleteParams::background())).await {
                // The watch has not told yet.
                Ok(_) | Err(ClusterError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let had_record = self.delete_record(caller, id).await?;
        if !is_live {
            return if had_record { Ok(()) } else { Err(JobError::NotFound) };
        }
        // Whoever asks for a list next is not to find the job in it.
        let _ = tokio::time::timeout(PATIENCE, self.forgotten(caller, id, follower)).await;
        // A worker that was just about to complete the job may have left a record meanwhile.
        self.delete_record(caller, id).await.map(drop)
    }

    /// Deletes the record of the caller's job, and says whether there was one.
    async fn delete_record(&self, caller: &Caller, id: &JobId) -> Result<bool, JobError> {
        match self.archive.find(caller, id).await {
            Ok(job) if belongs_to(&job, caller) => self.archive.delete(caller, id).await.map(|()| true),
            Ok(_) | Err(JobError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends when the watch knows the job no more.
    async fn forgotten(&self, caller: &Caller, id: &JobId, mut follower: Follower) {
        loop {
            follower.catch_up();
            if self.watched(caller, id).is_none() {
                return;
            }
            follower.changed().await;
        }
    }

    fn api(&self, caller: &Caller) -> Api<GenerationJob> {
        Api::namespaced(self.client.clone(), &caller.namespace)
    }
}

fn key(caller: &Caller, id: &JobId) -> Key {
    Key { namespace: caller.namespace.clone(), name: id.as_str().to_owned() }
}

fn belongs_to(job: &GenerationJob, caller: &Caller) -> bool {
    job.namespace().as_deref() == Some(&caller.namespace)
        && cache::user(job).is_some_and(|user| caller.is_admin() || user == caller.user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::scopes::{Scope, Scopes};

    #[test]
    fn a_job_belongs_to_its_user_in_its_namespace_and_to_no_one_else() {
        let alice = Caller::of("alice", "team");
        let mut job = GenerationJob::default();
        job.metadata.namespace = Some("team".into());
        job.labels_mut().insert(labels::USER.into(), "alice".into());
        assert!(!belongs_to(&job, &alice), "jobs of kubectl are not the API's");
        job.labels_mut().insert(labels::MANAGED_BY.into(), labels::MANAGED_BY_API.into());
        assert!(belongs_to(&job, &alice));
        assert!(!belongs_to(&job, &Caller::of("bob", "team")));
        assert!(!belongs_to(&job, &Caller::of("alice", "other")));

        let scopes = [Scope::Read, Scope::Admin].into_iter().collect::<Scopes>();
        assert!(belongs_to(&job, &Caller { scopes: scopes.clone(), ..Caller::of("bob", "team") }));
        assert!(!belongs_to(&job, &Caller { scopes, ..Caller::of("bob", "other") }));
    }
}
