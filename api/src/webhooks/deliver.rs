//! One delivery: the job is read, its next message sent, and what became of it written to the job's status.

use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource as _};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;
use trellis_crds::{DeliveryState, GenerationJob, WebhookDelivery, WebhookMessage, WebhookStatus};
use trellis_storage::{Error, HttpsSender};

use super::decide::{self, Outcome};
use super::metrics::Metrics;
use super::payload::{payload, user};
use super::queue::{Key, Task};
use super::schedule::Schedule;
use super::secret::SecretFile;
use crate::cluster::{self, ClusterError};

/// How often writing what became of a delivery is tried. After that it is delivered again.
const WRITES: u32 = 8;
/// When a job is looked at again that the API server did not give, or did not take the outcome of.
const UNANSWERED: Duration = Duration::from_secs(30);
/// The same, where the API server refuses.
const REFUSED: Duration = Duration::from_secs(600);
/// What a job is told that asks for a webhook of an installation without a secret.
const OFF: &str = "this installation sends no webhooks: it has no secret to sign them with";
const UNREACHABLE: &str =
    "the receiver cannot be reached, does not answer within 15 s, or has a certificate that is not trusted";

/// What a delivery needs.
#[derive(Clone)]
pub(super) struct Courier {
    /// Kubernetes.
    pub(super) client: Client,
    /// What messages are signed with, where webhooks are on.
    pub(super) secrets: Option<SecretFile>,
    /// What reaches receivers.
    pub(super) https: HttpsSender,
    /// When to try again.
    pub(super) schedule: Schedule,
    /// Where deliveries are counted.
    pub(super) metrics: Metrics,
    /// Where people are told.
    pub(super) recorder: Recorder,
}

/// What there is to deliver of `job`, and when.
pub(super) fn task(job: &GenerationJob) -> Option<Task> {
    let due = decide::next(job)?;
    Some(Task { host: host(job), at: due.at, since: due.message.time })
}

/// The host that the job's messages go to.
pub(super) fn host(job: &GenerationJob) -> String {
    let address = job.spec.webhook.as_ref().and_then(|webhook| url::Url::parse(&webhook.url).ok());
    address.and_then(|address| address.host_str().map(str::to_owned)).unwrap_or_default()
}

impl Courier {
    /// Delivers the next message of the job, and returns what is to be delivered after that. The job is read first: what led here may lag behind what
    /// this or another replica wrote.
    pub(super) async fn deliver(&self, key: &Key, known: &Task) -> Option<Task> {
        let job = match cluster::call(self.api(&key.namespace).get(&key.name)).await {
            Ok(job) => job,
            Err(ClusterError::NotFound) => return None,
            Err(error) => return Some(later(key, known, &error)),
        };
        let due = decide::next(&job)?;
        if due.at > Timestamp::now() {
            return task(&job);
        }
        let outcome = self.attempt(&job, &due.message).await;
        match self.record(job, &due.message, &outcome).await {
            Ok(job) => job.as_ref().and_then(task),
            Err(error) => Some(later(key, known, &error)),
        }
    }

    /// Sends a message that is not tried again, and of which no record is kept.
    pub(super) async fn tell(&self, job: &GenerationJob, message: &WebhookMessage) {
        let state = match self.attempt(job, message).await {
            Outcome::Delivered => DeliveryState::Delivered,
            Outcome::Failed(_) | Outcome::Refused(_) => DeliveryState::Dead,
        };
        self.metrics.count(message.event, state);
    }

    async fn attempt(&self, job: &GenerationJob, message: &WebhookMessage) -> Outcome {
        let Some(webhook) = &job.spec.webhook else { return Outcome::Refused("there is no webhook".into()) };
        let Some(secrets) = &self.secrets else { return Outcome::Refused(OFF.into()) };
        let body = payload(job, message);
        let headers = headers(secrets, job, message, &body);
        match self.https.post(&webhook.url, headers, Bytes::from(body)).await {
            Ok(status) if status.is_success() => Outcome::Delivered,
            Ok(StatusCode::GONE) => {
                Outcome::Refused("the receiver answered 410: it wants no more messages".into())
            }
            Ok(status) => Outcome::Failed(format!("the receiver answered {}", status.as_u16())),
            Err(Error::Refused { why, .. }) => Outcome::Refused(why),
            Err(_) => Outcome::Failed(UNREACHABLE.into()),
        }
    }

    /// Writes what became of a message, and returns the job as it is then; `None` where it is gone. It is the job's own state that counts, should that
    /// have changed meanwhile.
    async fn record(
        &self,
        mut job: GenerationJob,
        message: &WebhookMessage,
        outcome: &Outcome,
    ) -> Result<Option<GenerationJob>, ClusterError> {
        let uid = job.metadata.uid.clone();
        let (now, chance) = (micros(Timestamp::now()), rand::random::<f64>());
        let mut wait = Duration::from_millis(100);
        let mut tries = 0;
        loop {
            tries += 1;
            if job
                .webhook_delivery(message)
                .is_some_and(|known| known.last_attempt_time == Some(MicroTime(now)))
            {
                // An earlier try had no answer, and was carried out.
                return Ok(Some(job));
            }
            let delivery = decide::after(&job, message, outcome, now, &self.schedule, chance);
            let Some(status) = decide::with(&job, delivery.clone()) else { return Ok(Some(job)) };
            let api = self.api(job.metadata.namespace.as_deref().unwrap_or_default());
            let name = job.metadata.name.clone().unwrap_or_default();
            let error = match cluster::call(write(&api, &job, &status)).await {
                Ok(written) => {
                    self.announce(&written, &delivery).await;
                    return Ok(Some(written));
                }
                Err(ClusterError::NotFound) => return Ok(None),
                Err(error @ ClusterError::Unavailable(_)) => error,
                Err(error) => return Err(error),
            };
            if tries == WRITES {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
            // Changed in the meantime, or not known to have been written.
            match cluster::call(api.get(&name)).await {
                Ok(now) if now.metadata.uid == uid => job = now,
                Ok(_) | Err(ClusterError::NotFound) => return Ok(None),
                Err(_) => {}
            }
        }
    }

    /// Counts, logs and, where it was given up, publishes what became of a delivery.
    async fn announce(&self, job: &GenerationJob, delivery: &WebhookDelivery) {
        self.metrics.count(delivery.event, delivery.state);
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
        let (event, state) = (delivery.event.as_str(), delivery.state);
        tracing::info!(job = %format!("{namespace}/{name}"), event, ?state, attempts = delivery.attempts, "webhook");
        if delivery.state != DeliveryState::Dead {
            return;
        }
        let why = delivery.message.as_deref().unwrap_or_default();
        let note = format!("The webhook was not told {event:?} and is not tried again: {why}.");
        let event = Event {
            type_: EventType::Warning,
            reason: "WebhookFailed".into(),
            note: Some(note),
            action: "WebhookFailed".into(),
            secondary: None,
        };
        let published = cluster::call(self.recorder.publish(&event, &job.object_ref(&()))).await;
        if let Err(error) = published {
            tracing::warn!(%error, "an event cannot be published");
        }
    }

    fn api(&self, namespace: &str) -> Api<GenerationJob> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Has the job wait for a while, because the API server does not do what it is asked.
fn later(key: &Key, known: &Task, error: &ClusterError) -> Task {
    tracing::warn!(job = %format!("{}/{}", key.namespace, key.name), %error, "a webhook has to wait");
    let wait = if matches!(error, ClusterError::Unavailable(_)) { UNANSWERED } else { REFUSED };
    let now = Timestamp::now();
    Task { at: now.saturating_add(wait).unwrap_or(now), ..known.clone() }
}

/// Writes `status.webhook`, and nothing else, of the job in the state that is known.
pub(super) async fn write(
    api: &Api<GenerationJob>,
    job: &GenerationJob,
    status: &WebhookStatus,
) -> kube::Result<GenerationJob> {
    let patch = json!({
        "metadata": {"uid": job.metadata.uid, "resourceVersion": job.metadata.resource_version},
        "status": {"webhook": status},
    });
    let name = job.metadata.name.as_deref().unwrap_or_default();
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await
}

/// `time` as the API server stores it.
fn micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// The headers of Standard Webhooks, with a signature for each secret.
fn headers(secrets: &SecretFile, job: &GenerationJob, message: &WebhookMessage, body: &[u8]) -> HeaderMap {
    let id = message.id(job.metadata.uid.as_deref().unwrap_or_default());
    let timestamp = Timestamp::now().as_second();
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let signatures = secrets.current().of(namespace, user(job));
    let signatures: Vec<_> = signatures.iter().map(|secret| secret.sign(&id, timestamp, body)).collect();
    let texts = [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ];
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    for (name, text) in texts {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
    headers
}
