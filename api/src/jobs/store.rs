//! Reading and ending jobs.

use std::sync::Arc;
use std::time::SystemTime;

use futures::FutureExt as _;
use kube::api::DeleteParams;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use trellis_crds::{GenerationJob, labels};

use super::archive::Archive;
use super::{JobError, JobId};
use crate::auth::Caller;
use crate::cluster::{self, ClusterError};

/// Every job that came over REST, in whatever namespace: read from a watch, written to the API server, and once it is gone from there, read
/// from the archive.
#[derive(Clone)]
pub(crate) struct Jobs {
    client: Client,
    store: Store<GenerationJob>,
    archive: Archive,
}

impl Jobs {
    /// The jobs, and the future that keeps up with them.
    pub(crate) fn watch(client: Client, archive: Archive) -> (Self, impl Future<Output = ()> + Send) {
        let ours =
            watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGED_BY_API));
        let (store, fill) = cluster::watch(Api::all(client.clone()), ours);
        (Self { client, store, archive }, fill)
    }

    /// Waits until all jobs were read once. False where the watch was given up.
    pub(crate) async fn ready(&self) -> bool {
        self.store.wait_until_ready().await.is_ok()
    }

    /// The caller's job of this id, also when its object is gone.
    ///
    /// The API server is asked only for what its watch may not have told yet, so that following jobs costs it nothing: everything before the
    /// first reading, later a job that another replica or this one may just have created.
    pub(crate) async fn find(&self, caller: &Caller, id: &JobId) -> Result<Arc<GenerationJob>, JobError> {
        if let Some(job) = self.watched(caller, id) {
            return if belongs_to(&job, caller) { Ok(job) } else { Err(JobError::NotFound) };
        }
        // The record may be of an attempt after which the job goes on, so until all jobs are known it does not come first.
        if !self.listed()
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
            Some(job) => Some(job),
            None => match cluster::call(self.api(caller).get(id.as_str())).await {
                Ok(job) => Some(Arc::new(job)),
                Err(ClusterError::NotFound) => None,
                Err(error) => return Err(error),
            },
        };
        Ok(job.filter(|job| belongs_to(job, caller)))
    }

    /// The job of this id in the caller's namespace, whosever it is, as the watch last told.
    fn watched(&self, caller: &Caller, id: &JobId) -> Option<Arc<GenerationJob>> {
        self.store.get(&ObjectRef::new(id.as_str()).within(&caller.namespace))
    }

    /// Whether all jobs were read once.
    fn listed(&self) -> bool {
        self.ready().now_or_never().unwrap_or(false)
    }

    /// The caller's jobs, in no order.
    #[must_use]
    pub(crate) fn all(&self, caller: &Caller) -> Vec<Arc<GenerationJob>> {
        self.store.state_filter(|job| belongs_to(job, caller))
    }

    /// Creates a job.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        job: &GenerationJob,
    ) -> Result<GenerationJob, ClusterError> {
        cluster::call(self.api(caller).create(&Default::default(), job)).await
    }

    /// Deletes the caller's job, and so ends it in mid-run. Returns what it was.
    pub(crate) async fn delete(&self, caller: &Caller, id: &JobId) -> Result<Arc<GenerationJob>, JobError> {
        let job = self.live(caller, id).await?.ok_or(JobError::NotFound)?;
        cluster::call(self.api(caller).delete(id.as_str(), &DeleteParams::background())).await?;
        Ok(job)
    }

    fn api(&self, caller: &Caller) -> Api<GenerationJob> {
        Api::namespaced(self.client.clone(), &caller.namespace)
    }
}

fn belongs_to(job: &GenerationJob, caller: &Caller) -> bool {
    let labels = job.labels();
    job.namespace().as_deref() == Some(&caller.namespace)
        && labels.get(labels::MANAGED_BY).is_some_and(|value| value == labels::MANAGED_BY_API)
        && labels.get(labels::USER) == Some(&caller.user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_belongs_to_its_user_in_its_namespace_and_to_no_one_else() {
        let alice = Caller { user: "alice".into(), namespace: "team".into() };
        let mut job = GenerationJob::default();
        job.metadata.namespace = Some("team".into());
        job.labels_mut().insert(labels::USER.into(), "alice".into());
        assert!(!belongs_to(&job, &alice), "jobs of kubectl are not the API's");
        job.labels_mut().insert(labels::MANAGED_BY.into(), labels::MANAGED_BY_API.into());
        assert!(belongs_to(&job, &alice));
        assert!(!belongs_to(&job, &Caller { user: "bob".into(), ..alice.clone() }));
        assert!(!belongs_to(&job, &Caller { namespace: "other".into(), ..alice }));
    }
}
