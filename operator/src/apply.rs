//! Carries out actions against the API server.

use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource};
use serde_json::json;
use trellis_crds::{GenerationJob, WorkerPool, WorkerPoolStatus, labels};

use crate::action::{Action, Applied, Notice, Stored};
use crate::key::Key;
use crate::metrics::Metrics;
use crate::plan::Decision;
use crate::settings::Settings;
use crate::status;
use crate::text::clip;
use crate::validate::{Identity, Job, Pool, Worker};

/// The name under which the operator publishes events.
const REPORTER: &str = "trellis-operator";
/// The longest note of an event. <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
const NOTE: usize = 1024;
/// How long to wait before a job is read back whose write may or may not have happened.
const READ_BACK: Duration = Duration::from_millis(250);
const READ_BACK_LONGEST: Duration = Duration::from_secs(10);

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The object is deleted.
    #[error("it is gone")]
    Gone,
    /// The object is newer than what the decision was made from.
    #[error("it was changed in the meantime")]
    Conflict,
    /// The API server refuses the request.
    #[error("the API server refuses it: {0}")]
    Refused(String),
    /// There was no answer, or none that says whether the request was carried out.
    #[error("the API server did not answer as it should: {0}")]
    Unknown(String),
}

impl ApplyError {
    /// The error's name in metrics.
    pub(crate) fn metric_label(&self) -> &'static str {
        match self {
            ApplyError::Gone => "gone",
            ApplyError::Conflict => "conflict",
            ApplyError::Refused(_) => "refused",
            ApplyError::Unknown(_) => "unknown",
        }
    }
}

impl From<kube::Error> for ApplyError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 404 => ApplyError::Gone,
            kube::Error::Api(status) if status.code == 409 => ApplyError::Conflict,
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                ApplyError::Refused(status.message)
            }
            other => ApplyError::Unknown(other.to_string()),
        }
    }
}

/// Carries out actions.
pub(crate) struct Applier {
    client: Client,
    recorder: Recorder,
    metrics: Metrics,
}

impl Applier {
    pub(crate) fn new(client: Client, settings: &Settings, metrics: Metrics) -> Self {
        let reporter = Reporter { controller: REPORTER.into(), instance: Some(settings.pod_name.clone()) };
        Self { recorder: Recorder::new(client.clone(), reporter), client, metrics }
    }

    /// Carries out one action.
    pub(crate) async fn apply(&self, action: Action, settings: &Settings) -> Applied {
        let start = Instant::now();
        match action {
            Action::Decide { job, decision } => {
                let result = self.decide(&job, &decision).await;
                self.record("decide", start, &result, &job.identity.key);
                let notice = notice(&job, &decision).filter(|_| matches!(result, Ok(Stored::There(_))));
                Applied::Decided { uid: job.identity.uid, result, notice }
            }
            Action::CreateWorker { pool, name } => {
                let result = self.create_worker(&pool, &name).await;
                self.record("create_worker", start, &result, &pool.identity.key);
                Applied::WorkerCreated { pool: pool.identity.key, name, result }
            }
            Action::DeleteWorker { worker } => {
                let result = self.delete_worker(&worker).await;
                self.record("delete_worker", start, &result, &worker.identity.key);
                Applied::WorkerDeleted { uid: worker.identity.uid, result }
            }
            Action::ReportPool { pool, status } => {
                let result = self.report_pool(&pool, *status, settings).await;
                self.record("report_pool", start, &result, &pool.identity.key);
                Applied::PoolReported { pool: pool.identity.key, result }
            }
            Action::Announce(notice) => {
                let result = self.publish(&notice).await;
                let about = Key::new("", notice.about.name.unwrap_or_default());
                self.record("announce", start, &result, &about);
                Applied::Announced
            }
        }
    }

    async fn decide(&self, job: &Job, decision: &Decision) -> Result<Stored, ApplyError> {
        match self.write(job, decision).await {
            Ok(stored) => {
                self.metrics.decisions.with_label_values(&[decision.metric_label()]).inc();
                if let Some(attempt) = decision.ended_attempt() {
                    self.metrics.count_attempt(attempt);
                }
                tracing::info!(job = %job.identity.key, decision = decision.metric_label(), "decided");
                Ok(stored)
            }
            Err(ApplyError::Gone) => Ok(Stored::Gone),
            Err(ApplyError::Unknown(error)) => {
                tracing::warn!(job = %job.identity.key, error, "a write may or may not have happened: reading back");
                self.read_back(job).await
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&self, job: &Job, decision: &Decision) -> Result<Stored, ApplyError> {
        let api: Api<GenerationJob> = self.api(&job.identity.key);
        let name = &job.identity.key.name;
        if *decision == Decision::Delete {
            let deleted = api.delete(name, &only_this(&job.identity)).await?;
            return deleted.left().map_or(Ok(Stored::Gone), stored);
        }
        if *decision == Decision::DeadLetter {
            // With the uid, so that a new job of the same name is left alone.
            let metadata = json!({"uid": &*job.identity.uid, "labels": {labels::DEAD_LETTER: "true"}});
            let patch = Patch::Merge(json!({"metadata": metadata}));
            return stored(api.patch(name, &PatchParams::default(), &patch).await?);
        }
        let mut object = (*job.object).clone();
        object.status = status::after(job, decision, Timestamp::now());
        stored(api.replace_status(name, &PostParams::default(), &object).await?)
    }

    /// What became of a job after a write without an answer; asks until there is one.
    async fn read_back(&self, job: &Job) -> Result<Stored, ApplyError> {
        let api: Api<GenerationJob> = self.api(&job.identity.key);
        let mut delay = READ_BACK;
        loop {
            tokio::time::sleep(delay).await;
            match api.get_opt(&job.identity.key.name).await {
                Ok(Some(object)) if object.metadata.uid.as_deref() == Some(&*job.identity.uid) => {
                    return stored(object);
                }
                Ok(_) => return Ok(Stored::Gone),
                Err(error) => tracing::warn!(job = %job.identity.key, %error, "reading back failed"),
            }
            delay = (delay * 2).min(READ_BACK_LONGEST);
        }
    }

    async fn create_worker(&self, pool: &Pool, name: &str) -> Result<Worker, ApplyError> {
        let pod = pool.pod.as_ref().map_err(|error| ApplyError::Refused(error.clone()))?;
        let mut pod = (**pod).clone();
        pod.metadata.name = Some(name.to_owned());
        let api: Api<Pod> = self.api(&pool.identity.key);
        let pod = match api.create(&PostParams::default(), &pod).await {
            // By an earlier request whose answer was lost.
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => api.get(name).await?,
            other => other?,
        };
        let worker = Worker::new(&pod).map_err(|error| ApplyError::Refused(error.to_string()))?;
        if worker.pool_uid == pool.identity.uid { Ok(worker) } else { Err(ApplyError::Conflict) }
    }

    /// Deletes a worker's pod; on a conflict says whether it is being deleted already, by an earlier request whose answer was lost.
    async fn delete_worker(&self, worker: &Worker) -> Result<(), ApplyError> {
        let api: Api<Pod> = self.api(&worker.identity.key);
        let name = &worker.identity.key.name;
        match api.delete(name, &only_this(&worker.identity)).await.map_err(ApplyError::from) {
            Ok(_) => Ok(()),
            Err(ApplyError::Conflict) => match api.get_opt(name).await? {
                Some(pod) if pod.metadata.uid.as_deref() != Some(&*worker.identity.uid) => {
                    Err(ApplyError::Gone)
                }
                Some(pod) if pod.metadata.deletion_timestamp.is_some() => Ok(()),
                Some(_) => Err(ApplyError::Conflict),
                None => Err(ApplyError::Gone),
            },
            Err(error) => Err(error),
        }
    }

    async fn report_pool(
        &self,
        pool: &Pool,
        status: WorkerPoolStatus,
        settings: &Settings,
    ) -> Result<Pool, ApplyError> {
        let api: Api<WorkerPool> = self.api(&pool.identity.key);
        let mut object = (*pool.object).clone();
        object.status = Some(status);
        let object = api.replace_status(&pool.identity.key.name, &PostParams::default(), &object).await?;
        Pool::new(object, settings).map_err(|error| ApplyError::Refused(error.to_string()))
    }

    async fn publish(&self, notice: &Notice) -> Result<(), ApplyError> {
        let event = Event {
            type_: notice.type_,
            reason: notice.reason.into(),
            note: Some(clip(&notice.note, NOTE)),
            action: notice.reason.into(),
            secondary: None,
        };
        Ok(self.recorder.publish(&event, &notice.about).await?)
    }

    fn api<K>(&self, key: &Key) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    fn record<T>(&self, action: &str, start: Instant, result: &Result<T, ApplyError>, object: &Key) {
        let label = result.as_ref().map_or_else(ApplyError::metric_label, |_| "ok");
        let seconds = start.elapsed().as_secs_f64();
        self.metrics.apply_seconds.with_label_values(&[action, label]).observe(seconds);
        match result {
            Ok(_) => {}
            Err(error @ (ApplyError::Conflict | ApplyError::Gone)) => {
                tracing::debug!(action, %object, %error, "outdated");
            }
            Err(error) => tracing::warn!(action, %object, %error, "an action failed"),
        }
    }
}

fn stored(object: GenerationJob) -> Result<Stored, ApplyError> {
    Job::new(object).map(Stored::There).map_err(|error| ApplyError::Refused(error.to_string()))
}

/// Deletes this object in this state, or nothing.
fn only_this(identity: &Identity) -> DeleteParams {
    let preconditions = Preconditions {
        uid: Some(identity.uid.to_string()),
        resource_version: Some(identity.version.to_string()),
    };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

/// The event for a decision that was written.
fn notice(job: &Job, decision: &Decision) -> Option<Notice> {
    let message = |text: &Option<String>| text.clone().unwrap_or_else(|| "no reason given".into());
    match decision {
        Decision::Requeue { attempt, .. } => {
            let note = format!("Attempt {} is void: {}.", attempt.number, message(&attempt.message));
            Some(Notice::job(job, EventType::Normal, "Retrying", note))
        }
        Decision::Retry { attempt } => {
            let note = format!("Attempt {} failed: {}.", attempt.number, message(&attempt.message));
            Some(Notice::job(job, EventType::Warning, "Retrying", note))
        }
        Decision::Fail { error, .. } => {
            Some(Notice::job(job, EventType::Warning, "Failed", error.message.clone()))
        }
        _ => None,
    }
}
