//! What is measured of webhooks.

use k8s_openapi::jiff::Timestamp;
use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};
use trellis_crds::{DeliveryState, WebhookEvent};

const DELIVERED: &str = "delivered";
const FAILED: &str = "failed";
const DEAD: &str = "dead";

/// The metrics of webhooks.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    attempts: IntCounterVec,
    due: IntGauge,
    oldest: Gauge,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let attempts = IntCounterVec::new(
            Opts::new(
                "trellis_api_webhook_attempts_total",
                "Attempts to deliver a webhook's message, by event and outcome: delivered, failed (it is tried again), dead (it is given up).",
            ),
            &["event", "outcome"],
        )?;
        let due = IntGauge::new(
            "trellis_api_webhook_due",
            "Jobs with a message that was not delivered yet. Only of the replica that sends.",
        )?;
        let oldest = Gauge::new(
            "trellis_api_webhook_oldest_due_seconds",
            "How long ago that happened of which the oldest message tells that was not delivered yet.",
        )?;
        // Those of which there was none are told as well: else the first is no increase.
        for event in WebhookEvent::ALL {
            for outcome in [DELIVERED, FAILED, DEAD] {
                attempts.with_label_values(&[event.as_str(), outcome]);
            }
        }
        registry.register(Box::new(attempts.clone()))?;
        registry.register(Box::new(due.clone()))?;
        registry.register(Box::new(oldest.clone()))?;
        Ok(Self { attempts, due, oldest })
    }

    /// Counts an attempt after which the delivery is in this state.
    pub(super) fn count(&self, event: WebhookEvent, state: DeliveryState) {
        let outcome = match state {
            DeliveryState::Delivered => DELIVERED,
            DeliveryState::Pending => FAILED,
            DeliveryState::Dead => DEAD,
        };
        self.attempts.with_label_values(&[event.as_str(), outcome]).inc();
    }

    /// Shows what is to be delivered: how much, and since when the oldest.
    pub(super) fn show(&self, (due, oldest): (usize, Option<Timestamp>), now: Timestamp) {
        self.due.set(i64::try_from(due).unwrap_or(i64::MAX));
        self.oldest.set(oldest.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0)));
    }
}
