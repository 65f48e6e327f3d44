//! Whom to tell what becomes of a job, and what was told.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GenerationJob, Phase};

/// Whom to tell what becomes of a job.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// The address that gets a signed POST for each event, with the job as JSON: docs/webhooks.md has the headers. https only, public hosts
    /// only, unless the installation allows others. At most 2048 characters.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^https://[^/]+.*$')").message("write https://host/path")
    )]
    pub url: String,

    /// What to tell (default `[completed, failed, cancelled]`), each at most once. `start`: the first attempt began; `progress`: how far the
    /// attempt is, every few seconds at most and never tried twice; `completed`, `failed`, `cancelled`: the job ended so.
    #[serde(default = "ends")]
    #[schemars(length(min = 1, max = 5))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub events: Vec<WebhookEvent>,
}

impl Default for Webhook {
    fn default() -> Self {
        Webhook { url: String::new(), events: ends() }
    }
}

fn ends() -> Vec<WebhookEvent> {
    vec![WebhookEvent::Completed, WebhookEvent::Failed, WebhookEvent::Cancelled]
}

/// What a job's webhook can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookEvent {
    /// The first attempt began.
    Start,
    /// How far the attempt that runs is.
    Progress,
    /// The files are there.
    Completed,
    /// The job failed for good.
    Failed,
    /// The job was cancelled.
    Cancelled,
}

impl WebhookEvent {
    /// Every event, in the order of a job's life.
    pub const ALL: [WebhookEvent; 5] = [
        WebhookEvent::Start,
        WebhookEvent::Progress,
        WebhookEvent::Completed,
        WebhookEvent::Failed,
        WebhookEvent::Cancelled,
    ];

    /// The event that a job in this phase ended with; `None` while it has not ended.
    pub fn of_end(phase: Phase) -> Option<Self> {
        match phase {
            Phase::Completed => Some(WebhookEvent::Completed),
            Phase::Failed => Some(WebhookEvent::Failed),
            Phase::Cancelled => Some(WebhookEvent::Cancelled),
            Phase::Pending | Phase::Processing => None,
        }
    }

    /// The name as it stands in `spec.webhook.events`.
    pub fn as_str(self) -> &'static str {
        match self {
            WebhookEvent::Start => "start",
            WebhookEvent::Progress => "progress",
            WebhookEvent::Completed => "completed",
            WebhookEvent::Failed => "failed",
            WebhookEvent::Cancelled => "cancelled",
        }
    }
}

/// What a job's webhook was told, and what not.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookStatus {
    /// The deliveries that were tried, one for each event but `progress`, of which no record is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["event".into()]))]
    pub deliveries: Vec<WebhookDelivery>,
}

/// What became of telling one event.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDelivery {
    /// The event.
    pub event: WebhookEvent,

    /// The message's id, which is in the header `webhook-id` of every attempt.
    #[schemars(length(max = 128))]
    pub id: String,

    /// When the event happened. A job that failed and was tried again may end twice.
    pub time: MicroTime,

    /// `Pending`: it is tried again; `Delivered`: the receiver took it; `Dead`: it was given up.
    pub state: DeliveryState,

    /// How many times it was tried.
    #[schemars(range(min = 0))]
    pub attempts: i32,

    /// When it was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_time: Option<MicroTime>,

    /// When it is tried next, at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<MicroTime>,

    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub message: Option<String>,
}

/// How far telling an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeliveryState {
    /// It is tried again.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It was given up.
    Dead,
}

/// Something that a job's webhook is to be told. It follows from the job alone, so whoever looks at the job finds the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookMessage {
    /// What happened.
    pub event: WebhookEvent,
    /// When it happened.
    pub time: Timestamp,
}

impl WebhookMessage {
    /// The message's id: the same for every attempt to deliver it. A job that ends twice, because it was tried again, has two of them.
    pub fn id(&self, job_uid: &str) -> String {
        match self.event {
            WebhookEvent::Start => format!("{job_uid}-start"),
            event => format!("{job_uid}-{}-{}", event.as_str(), self.time.as_millisecond()),
        }
    }

    /// Whether `delivery` is this message's.
    pub fn is_of(&self, delivery: &WebhookDelivery) -> bool {
        let once = self.event == WebhookEvent::Start;
        delivery.event == self.event && (once || delivery.time.0 == self.time)
    }
}

impl GenerationJob {
    /// What the job's webhook is to be told of what has happened so far, but for progress: that it started, and how it ended.
    pub fn webhook_messages(&self) -> Vec<WebhookMessage> {
        let Some(webhook) = &self.spec.webhook else { return Vec::new() };
        let started = self.started().map(|time| WebhookMessage { event: WebhookEvent::Start, time });
        let ended = WebhookEvent::of_end(self.phase())
            .zip(self.ended())
            .map(|(event, time)| WebhookMessage { event, time });
        let happened = started.into_iter().chain(ended);
        happened.filter(|message| webhook.events.contains(&message.event)).collect()
    }

    /// Those of [`webhook_messages`](Self::webhook_messages) that were neither delivered nor given up.
    pub fn undelivered_webhook_messages(&self) -> Vec<WebhookMessage> {
        let mut messages = self.webhook_messages();
        messages.retain(|message| {
            self.webhook_delivery(message).is_none_or(|delivery| delivery.state == DeliveryState::Pending)
        });
        messages
    }

    /// What became of telling `message`; `None` where it was not tried yet.
    pub fn webhook_delivery(&self, message: &WebhookMessage) -> Option<&WebhookDelivery> {
        let webhook = self.status.as_ref()?.webhook.as_ref()?;
        webhook.deliveries.iter().find(|delivery| message.is_of(delivery))
    }

    /// When the first attempt began, of those that are on record.
    fn started(&self) -> Option<Timestamp> {
        let status = self.status.as_ref()?;
        let first = status.attempts.first().map(|attempt| attempt.start.0);
        first.or_else(|| Some(status.assignment.as_ref()?.time.0))
    }

    fn ended(&self) -> Option<Timestamp> {
        Some(self.status.as_ref()?.completion_time.as_ref()?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(webhook: Value, status: Value) -> GenerationJob {
        serde_json::from_value(json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {"name": "cup", "uid": "u"},
            "spec": {"input": {"image": {"sources": [{"uri": "gs://b/cup.png"}]}}, "webhook": webhook},
            "status": status,
        }))
        .unwrap()
    }

    fn events(messages: &[WebhookMessage]) -> Vec<&str> {
        messages.iter().map(|message| message.event.as_str()).collect()
    }

    const ALL: [&str; 5] = ["start", "progress", "completed", "failed", "cancelled"];

    fn ended(phase: &str) -> Value {
        json!({
            "phase": phase, "completionTime": "2026-01-01T00:01:00.000000Z",
            "attempts": [{"number": 1, "worker": "w", "start": "2026-01-01T00:00:00.000000Z",
                          "end": "2026-01-01T00:01:00.000000Z", "outcome": "Succeeded"}],
        })
    }

    #[test]
    fn what_is_told_follows_from_the_job_and_from_what_was_asked_for() {
        let all = json!({"url": "https://a.example", "events": ALL});
        let told = |webhook: &Value, status| {
            let job = job(webhook.clone(), status);
            events(&job.webhook_messages()).join(" ")
        };
        assert_eq!(told(&all, json!({"phase": "Pending"})), "");
        assert_eq!(told(&all, json!({"phase": "Cancelled"})), "", "an end has a time");
        for (phase, event) in [("Completed", "completed"), ("Failed", "failed"), ("Cancelled", "cancelled")] {
            assert_eq!(told(&all, ended(phase)), format!("start {event}"));
            assert_eq!(told(&json!({"url": "https://a.example"}), ended(phase)), event, "by default");
            assert_eq!(told(&Value::Null, ended(phase)), "");
        }
        assert_eq!(told(&json!({"url": "https://a.example", "events": ["failed"]}), ended("Completed")), "");
    }

    #[test]
    fn a_job_that_ends_twice_is_told_twice() {
        let mut status = ended("Failed");
        let delivery = |state: &str, time: &str| {
            json!({"deliveries": [
                {"event": "failed", "id": "u", "time": time, "state": state, "attempts": 1},
            ]})
        };
        let undelivered = |status: &Value| {
            let job = job(json!({"url": "https://a.example"}), status.clone());
            events(&job.undelivered_webhook_messages()).join(" ")
        };
        for (state, left) in [("Pending", "failed"), ("Delivered", ""), ("Dead", "")] {
            status["webhook"] = delivery(state, "2026-01-01T00:01:00.000000Z");
            assert_eq!(undelivered(&status), left, "{state}");
        }
        status["completionTime"] = json!("2026-01-01T00:09:00.000000Z");
        assert_eq!(undelivered(&status), "failed", "it was tried again, and failed again");
    }

    #[test]
    fn an_id_stays_while_the_event_is_the_same() {
        let all = json!({"url": "https://a.example", "events": ALL});
        let ids = |status| {
            let messages = job(all.clone(), status).webhook_messages();
            messages.iter().map(|message| message.id("u")).collect::<Vec<_>>()
        };
        let assignment = json!({"pool": "p", "worker": "w", "podUid": "1", "attempt": 1, "time": "2026-01-01T00:00:09.000000Z"});
        assert_eq!(ids(json!({"phase": "Processing", "assignment": assignment})), ["u-start"]);
        assert_eq!(ids(ended("Completed")), ["u-start", "u-completed-1767225660000"]);
    }
}
