//! Carries out actions against the API server.

use std::time::Instant;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::SignedDuration;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
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
use crate::time::Clock;
use crate::trace;
use crate::validate::{Identity, Job, Pool, Worker};

/// The name under which the operator publishes events.
const REPORTER: &str = "trellis-operator";
/// The longest note of an event. <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
const NOTE: usize = 1024;
/// What actions are about, as the API server names it in its answers.
const KINDS: [&str; 3] = ["generationjobs", "workerpools", "pods"];

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
    /// There was no answer, or none that says whether the request was carried out, or will be.
    #[error("the API server did not answer as it should: {0}")]
    Unknown(Unanswered),
}

/// What is known of a request whose outcome is not.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Unanswered {
    message: String,
    /// How long the API server asks to be left alone; zero where it does not.
    pub(crate) retry_after: SignedDuration,
}

impl From<String> for Unanswered {
    fn from(message: String) -> Self {
        Self { message, retry_after: SignedDuration::ZERO }
    }
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
            kube::Error::Api(status) => Self::from(*status),
            other => ApplyError::Unknown(other.to_string().into()),
        }
    }
}

impl From<Status> for ApplyError {
    fn from(status: Status) -> Self {
        let details = status.details.as_ref();
        match status.code {
            404 if details.is_none_or(|details| details.name.is_empty()) => {
                // It does not serve the resource at the moment, which says nothing about the object.
                ApplyError::Unknown(status.message.into())
            }
            404 if details.is_some_and(|details| KINDS.contains(&&*details.kind)) => ApplyError::Gone,
            409 => ApplyError::Conflict,
            429 | 500.. => {
                let seconds = details.map_or(0, |details| details.retry_after_seconds);
                let retry_after = SignedDuration::from_secs(seconds.into());
                ApplyError::Unknown(Unanswered { message: status.message, retry_after })
            }
            400..500 => ApplyError::Refused(status.message),
            _ => ApplyError::Unknown(status.message.into()),
        }
    }
}

/// Carries out actions.
pub(crate) struct Applier {
    client: Client,
    recorder: Recorder,
    metrics: Metrics,
    clock: Clock,
}

impl Applier {
    pub(crate) fn new(client: Client, settings: &Settings, metrics: Metrics, clock: Clock) -> Self {
        let reporter = Reporter { controller: REPORTER.into(), instance: Some(settings.pod_name.clone()) };
        Self { recorder: Recorder::new(client.clone(), reporter), client, metrics, clock }
    }

    /// Carries out one action.
    pub(crate) async fn apply(&self, action: Action, settings: &Settings) -> Applied {
        let start = Instant::now();
        match action {
            Action::Decide { job, decision } => {
                let written = self.decide(&job, &decision).await;
                self.record("decide", start, &written, &job.identity.key);
                let notice = notice(&job, &decision).filter(|_| matches!(written, Ok(Stored::There(_))));
                let result = match written {
                    // No copy of the write can be carried out any more: what is there now stays until the next one.
                    Err(ApplyError::Conflict) => self.read(&job).await,
                    written => written,
                };
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
                Applied::Announced { result }
            }
        }
    }

    async fn decide(&self, job: &Job, decision: &Decision) -> Result<Stored, ApplyError> {
        let stored = match self.write(job, decision).await {
            Err(ApplyError::Gone) => return Ok(Stored::Gone),
            written => written?,
        };
        self.metrics.decisions.with_label_values(&[decision.metric_label()]).inc();
        if let Decision::Assign(seat) = decision {
            self.metrics.count_assignment(&seat.pool);
            trace::assigned(job, seat);
        }
        if let Some(attempt) = decision.ended_attempt() {
            self.metrics.count_attempt(attempt);
        }
        let trace = trace::place(job).trace_id();
        tracing::info!(job = %job.identity.key, decision = decision.metric_label(), trace, "decided");
        Ok(stored)
    }

    async fn write(&self, job: &Job, decision: &Decision) -> Result<Stored, ApplyError> {
        let api: Api<GenerationJob> = self.api(&job.identity.key);
        let name = &job.identity.key.name;
        if *decision == Decision::Delete {
            let deleted = api.delete(name, &only_this(&job.identity)).await?;
            return deleted.left().map_or(Ok(Stored::Gone), stored);
        }
        if let Some(label) = label(decision) {
            // In the state that this was decided from, so that a copy of the request that comes late undoes nothing.
            let identity = &job.identity;
            let metadata = json!({
                "uid": &*identity.uid,
                "resourceVersion": identity.version.to_string(),
                "labels": {labels::DEAD_LETTER: label},
            });
            let patch = Patch::Merge(json!({"metadata": metadata}));
            return stored(api.patch(name, &PatchParams::default(), &patch).await?);
        }
        let job = &self.whole(job).await?;
        let mut object = (*job.object).clone();
        object.status = status::after(job, decision, self.clock.now());
        stored(api.replace_status(name, &PostParams::default(), &object).await?)
    }

    /// All of the job, in the state that it is known in.
    async fn whole(&self, job: &Job) -> Result<Job, ApplyError> {
        if job.is_whole {
            return Ok(job.clone());
        }
        match self.read(job).await? {
            Stored::There(now) if now.identity.version == job.identity.version => Ok(now),
            Stored::There(_) => Err(ApplyError::Conflict),
            Stored::Gone => Err(ApplyError::Gone),
        }
    }

    /// The job as it is now.
    async fn read(&self, job: &Job) -> Result<Stored, ApplyError> {
        match self.current::<GenerationJob>(&job.identity).await {
            Ok(object) => stored(object),
            Err(ApplyError::Gone) => Ok(Stored::Gone),
            Err(error) => Err(error),
        }
    }

    /// An object as it is now; one of the same name is another.
    async fn current<K>(&self, identity: &Identity) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let object = self.api::<K>(&identity.key).get(&identity.key.name).await?;
        let same = object.meta().uid.as_deref() == Some(&*identity.uid);
        if same { Ok(object) } else { Err(ApplyError::Gone) }
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
        match api
            .delete(&worker.identity.key.name, &only_this(&worker.identity))
            .await
            .map_err(ApplyError::from)
        {
            Ok(_) => Ok(()),
            Err(ApplyError::Conflict) => {
                let pod = self.current::<Pod>(&worker.identity).await?;
                pod.metadata.deletion_timestamp.map(drop).ok_or(ApplyError::Conflict)
            }
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

/// The label as failed for good that a decision writes; null takes it away.
fn label(decision: &Decision) -> Option<serde_json::Value> {
    match decision {
        Decision::DeadLetter => Some(json!("true")),
        Decision::Unlabel => Some(json!(null)),
        _ => None,
    }
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
        Decision::Revive => {
            let note = "The job failed for good, and is tried again as its label asks.";
            Some(Notice::job(job, EventType::Normal, "Retrying", note))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn answer(code: u16, details: Value) -> ApplyError {
        let status = json!({"status": "Failure", "message": "no", "code": code, "details": details});
        serde_json::from_value::<Status>(status).unwrap().into()
    }

    #[test]
    fn an_object_is_gone_only_where_the_answer_names_it() {
        let job = json!({"name": "cup", "kind": "generationjobs"});
        assert!(matches!(answer(404, job), ApplyError::Gone));
        assert!(matches!(answer(404, Value::Null), ApplyError::Unknown(_)), "the resource is not served");
        let namespace = json!({"name": "shop", "kind": "namespaces"});
        assert!(matches!(answer(404, namespace), ApplyError::Refused(_)), "a pod was to be made in it");
    }

    #[test]
    fn an_answer_that_does_not_tell_what_happened_says_when_to_ask_again() {
        for code in [429, 500, 503, 504] {
            let error = answer(code, json!({"retryAfterSeconds": 7}));
            let ApplyError::Unknown(unanswered) = error else { panic!("{code}: {error:?}") };
            assert_eq!(unanswered.retry_after, SignedDuration::from_secs(7));
        }
        assert!(matches!(answer(403, Value::Null), ApplyError::Refused(_)));
    }
}
