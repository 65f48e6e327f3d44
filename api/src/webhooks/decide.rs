//! What is to be told about a job next, and how its status says what was told. All of it follows from the job alone: whoever sends next, after a
//! crash say, decides the same.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use trellis_crds::{DeliveryState, GenerationJob, WebhookDelivery, WebhookMessage, WebhookStatus};

use super::schedule::Schedule;

/// A message that is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// What it tells.
    pub(super) message: WebhookMessage,
    /// When it is to be tried, at the earliest.
    pub(super) at: Timestamp,
}

/// How an attempt to deliver a message ended. The texts stand in the job's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver took it.
    Delivered,
    /// It may be taken later.
    Failed(String),
    /// It will not be taken.
    Refused(String),
}

/// The message that is to be delivered next, where there is one.
pub(super) fn next(job: &GenerationJob) -> Option<Due> {
    let due = |message: WebhookMessage| {
        let again = job.webhook_delivery(&message).and_then(|delivery| delivery.next_attempt_time.as_ref());
        Due { message, at: again.map_or(message.time, |time| time.0) }
    };
    job.undelivered_webhook_messages().into_iter().map(due).min_by_key(|due| due.at)
}

/// The delivery of `message` after an attempt that ended so at `now`.
pub(super) fn after(
    job: &GenerationJob,
    message: &WebhookMessage,
    outcome: &Outcome,
    now: Timestamp,
    schedule: &Schedule,
    chance: f64,
) -> WebhookDelivery {
    let attempts = job.webhook_delivery(message).map_or(0, |known| known.attempts).saturating_add(1);
    let wait = schedule.wait(attempts, chance);
    let (state, said) = match outcome {
        Outcome::Delivered => (DeliveryState::Delivered, None),
        Outcome::Failed(why) if wait.is_some() => (DeliveryState::Pending, Some(why)),
        Outcome::Failed(why) | Outcome::Refused(why) => (DeliveryState::Dead, Some(why)),
    };
    let pending = state == DeliveryState::Pending;
    let next = wait.filter(|_| pending).map(|wait| now.saturating_add(wait).unwrap_or(now));
    WebhookDelivery {
        event: message.event,
        id: message.id(job.metadata.uid.as_deref().unwrap_or_default()),
        time: MicroTime(message.time),
        state,
        attempts,
        last_attempt_time: Some(MicroTime(now)),
        next_attempt_time: next.map(MicroTime),
        message: said.cloned(),
    }
}

/// The status with this delivery in it. `None` where the job has nothing of the kind to tell any more, because it is tried again.
///
/// Deliveries of what the job does not tell any more are left out.
pub(super) fn with(job: &GenerationJob, delivery: WebhookDelivery) -> Option<WebhookStatus> {
    let messages = job.webhook_messages();
    messages.iter().find(|message| message.is_of(&delivery))?;
    let mut deliveries: Vec<_> =
        current(job, &messages).filter(|known| known.event != delivery.event).collect();
    deliveries.push(delivery);
    deliveries.sort_by_key(|delivery| delivery.event);
    Some(WebhookStatus { deliveries })
}

/// The status that has all of an ended job's messages delivered again, with the ids they had. `None` where nothing was to be delivered.
pub(super) fn again(job: &GenerationJob) -> Option<WebhookStatus> {
    let messages = job.webhook_messages();
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let deliveries: Vec<_> = messages.iter().map(|message| fresh(message, uid)).collect();
    (!deliveries.is_empty()).then_some(WebhookStatus { deliveries })
}

fn current(job: &GenerationJob, messages: &[WebhookMessage]) -> impl Iterator<Item = WebhookDelivery> {
    let known = job.status.as_ref().and_then(|status| status.webhook.as_ref());
    let known = known.map(|webhook| webhook.deliveries.as_slice()).unwrap_or_default();
    known.iter().filter(|known| messages.iter().any(|message| message.is_of(known))).cloned()
}

fn fresh(message: &WebhookMessage, uid: &str) -> WebhookDelivery {
    WebhookDelivery {
        event: message.event,
        id: message.id(uid),
        time: MicroTime(message.time),
        state: DeliveryState::Pending,
        attempts: 0,
        last_attempt_time: None,
        next_attempt_time: None,
        message: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::jiff::SignedDuration;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;
    use trellis_crds::WebhookEvent;

    use super::*;

    fn job(phase: &str) -> GenerationJob {
        let assignment = json!({"pool": "p", "worker": "w", "podUid": "1", "attempt": 1, "time": "2026-01-01T00:00:00.000000Z"});
        serde_json::from_value(json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {"name": "cup", "namespace": "team", "uid": "u"},
            "spec": {
                "input": {"image": {"sources": [{"uri": "gs://b/cup.png"}]}},
                "webhook": {
                    "url": "https://a.example", "events": ["start", "progress", "completed", "failed", "cancelled"],
                },
            },
            "status": {"phase": phase, "assignment": assignment, "completionTime": "2026-01-01T00:01:00.000000Z"},
        }))
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:02:00Z".parse().unwrap()
    }

    fn record(job: &mut GenerationJob, outcome: &Outcome, at: Timestamp, schedule: &Schedule) {
        let due = next(job).unwrap();
        let delivery = after(job, &due.message, outcome, at, schedule, 0.0);
        let webhook = with(job, delivery);
        job.status.as_mut().unwrap().webhook = webhook;
    }

    fn state(job: &GenerationJob, event: WebhookEvent) -> (DeliveryState, i32) {
        let deliveries = &job.status.as_ref().unwrap().webhook.as_ref().unwrap().deliveries;
        let delivery = deliveries.iter().find(|delivery| delivery.event == event).unwrap();
        (delivery.state, delivery.attempts)
    }

    #[test]
    fn events_are_told_in_their_order_and_one_that_fails_does_not_hold_up_the_next() {
        let mut job = job("Completed");
        let schedule = Schedule::new(vec![60]);
        assert_eq!(next(&job).unwrap().message.event, WebhookEvent::Start);
        record(&mut job, &Outcome::Failed("500".into()), now(), &schedule);
        assert_eq!(next(&job).unwrap().message.event, WebhookEvent::Completed);
        record(&mut job, &Outcome::Delivered, now(), &schedule);
        let again = next(&job).unwrap();
        assert_eq!(
            (again.message.event, again.at),
            (WebhookEvent::Start, now() + SignedDuration::from_secs(60))
        );
        record(&mut job, &Outcome::Failed("500".into()), now(), &schedule);
        assert_eq!(next(&job), None);
        assert_eq!(state(&job, WebhookEvent::Start), (DeliveryState::Dead, 2));
        assert_eq!(state(&job, WebhookEvent::Completed), (DeliveryState::Delivered, 1));
    }

    #[test]
    fn a_receiver_that_is_gone_is_not_tried_again() {
        let mut job = job("Processing");
        record(&mut job, &Outcome::Refused("410".into()), now(), &Schedule::new(vec![60, 60]));
        assert_eq!(state(&job, WebhookEvent::Start), (DeliveryState::Dead, 1));
        assert_eq!(next(&job), None);
    }

    #[test]
    fn a_job_that_is_tried_again_has_its_end_told_no_more() {
        let mut job = job("Failed");
        job.spec.webhook.as_mut().unwrap().events = vec![WebhookEvent::Completed, WebhookEvent::Failed];
        let schedule = Schedule::new(vec![60]);
        let failed = next(&job).unwrap().message;
        record(&mut job, &Outcome::Failed("500".into()), now(), &schedule);
        let late = after(&job, &failed, &Outcome::Delivered, now(), &schedule, 0.0);

        job.status.as_mut().unwrap().phase = Some(trellis_crds::Phase::Processing);
        assert_eq!(next(&job), None);
        assert_eq!(with(&job, late), None);

        job.status.as_mut().unwrap().phase = Some(trellis_crds::Phase::Completed);
        record(&mut job, &Outcome::Delivered, now(), &schedule);
        let deliveries = &job.status.as_ref().unwrap().webhook.as_ref().unwrap().deliveries;
        assert_eq!(
            deliveries.iter().map(|delivery| delivery.event).collect::<Vec<_>>(),
            [WebhookEvent::Completed]
        );
    }

    #[test]
    fn what_is_redelivered_keeps_its_id_and_begins_anew() {
        let mut job = job("Completed");
        let first = next(&job).unwrap().message.id("u");
        record(&mut job, &Outcome::Refused("410".into()), now(), &Schedule::new(vec![]));
        record(&mut job, &Outcome::Delivered, now(), &Schedule::new(vec![]));
        assert_eq!(next(&job), None);
        let webhook = again(&job);
        job.status.as_mut().unwrap().webhook = webhook;
        assert_eq!(next(&job).unwrap().message.id("u"), first);
        assert_eq!(state(&job, WebhookEvent::Start), (DeliveryState::Pending, 0));
        assert_eq!(state(&job, WebhookEvent::Completed), (DeliveryState::Pending, 0));
        job.spec.webhook = None;
        assert_eq!(again(&job), None);
    }

    /// One attempt: whether the receiver takes the message, and whether the sender lives to write that down.
    fn attempt() -> impl Strategy<Value = (bool, bool)> {
        (any::<bool>(), any::<bool>())
    }

    proptest! {
        /// However often the sender dies between sending and writing, every event reaches the receiver or is dead on record, and what is on record
        /// as delivered was taken by the receiver.
        #[test]
        fn every_event_is_delivered_at_least_once_or_dead(
            attempts in vec(attempt(), 0..40),
            waits in vec(0_u32..100, 0..6),
            phase in prop::sample::select(vec!["Processing", "Completed", "Failed", "Cancelled"]),
        ) {
            let schedule = Schedule::new(waits);
            let mut job = job(phase);
            let mut taken = BTreeMap::<String, usize>::new();
            let mut time = now();
            // At the end the sender lives, and the receiver takes all.
            let attempts = attempts.into_iter().chain(std::iter::repeat((true, true)));
            for (takes, lives) in attempts.take(60) {
                let Some(due) = next(&job) else { break };
                time = time.max(due.at);
                let id = due.message.id("u");
                let outcome = if takes { Outcome::Delivered } else { Outcome::Failed("500".into()) };
                if takes {
                    *taken.entry(id).or_default() += 1;
                }
                if lives {
                    let delivery = after(&job, &due.message, &outcome, time, &schedule, 0.5);
                    prop_assert!(delivery.next_attempt_time.as_ref().is_none_or(|next| next.0 >= time));
                    let webhook = with(&job, delivery);
                    job.status.as_mut().unwrap().webhook = webhook;
                }
            }
            prop_assert_eq!(next(&job), None, "something is still due");
            for message in job.webhook_messages() {
                let delivery = job.webhook_delivery(&message).unwrap();
                let told = taken.contains_key(&message.id("u"));
                match delivery.state {
                    DeliveryState::Delivered => prop_assert!(told),
                    DeliveryState::Dead => prop_assert!(delivery.message.is_some()),
                    DeliveryState::Pending => prop_assert!(false, "pending"),
                }
            }
        }
    }
}
