//! Which replica writes: the one that holds the Lease.
//!
//! A holder renews well before the Lease ends and gives up before anybody else may take it, whether or not its requests are answered.
//! The times are short, so that a job waits less than ten seconds when a leader dies: a change of leaders costs a list and no run.
//! How long a Lease has lasted is measured by the time since it was last seen to change, so that clocks need not agree.

use std::time::Duration;

use futures::TryFutureExt as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::client::WatchProgress;
use crate::settings::Settings;

/// How long others leave a Lease alone that does not change.
const DURATION: Duration = Duration::from_secs(6);
/// How long a holder that cannot renew goes on: less than [`DURATION`] by what its last requests may still take.
const RENEW_DEADLINE: Duration = Duration::from_secs(4);
const RENEW_EVERY: Duration = Duration::from_millis(1500);
const TRY_EVERY: Duration = Duration::from_millis(500);
/// How long a request about the Lease may take: one that hangs must leave time for another before the Lease ends.
const CALL_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long a watched resource may go without an answer before this replica is blind to it. Watches are renewed every minute.
const BLIND: Duration = Duration::from_secs(90);

/// Whether this replica writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Standby,
    Leader,
}

/// Why the Lease could be neither taken nor renewed.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("the API server refuses a request: {0}")]
    Request(#[from] kube::Error),
    #[error("the API server did not answer within {} ms", CALL_TIMEOUT.as_millis())]
    Silent,
}

/// A candidate for the Lease.
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    progress: WatchProgress,
    /// The Lease as this replica wrote it last, while it holds it.
    held: Option<Lease>,
    /// The Lease as another replica wrote it last, and when that was first seen.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    pub(crate) fn new(client: Client, settings: &Settings, progress: WatchProgress) -> Self {
        Self {
            api: Api::namespaced(client, &settings.operator_namespace),
            name: settings.lease_name.clone(),
            identity: settings.pod_name.clone(),
            progress,
            held: None,
            seen: None,
        }
    }

    /// Takes the Lease when it is free, renews it, and tells `role`; releases it when `resign` is cancelled. While this replica sees nothing of
    /// what it would decide about, it leaves the Lease to one that does.
    pub(crate) async fn campaign(mut self, role: watch::Sender<Role>, resign: CancellationToken) {
        let mut valid_until = None;
        loop {
            let start = Instant::now();
            let sees = self.progress.age() < BLIND;
            if !sees && valid_until.take().is_some() {
                tracing::error!(lease = self.name, "a watch shows nothing: this replica gives up the Lease");
                set(&role, Role::Standby);
                self.release().await;
            }
            let held = match valid_until {
                _ if !sees => Ok(false),
                Some(end) => timeout_at(end, self.try_to_hold()).await.unwrap_or(Ok(false)),
                None => self.try_to_hold().await,
            };
            match &held {
                Ok(true) => valid_until = Some(start + RENEW_DEADLINE),
                Ok(false) => valid_until = None,
                Err(error) => tracing::warn!(lease = self.name, %error, "cannot take or renew the Lease"),
            }
            valid_until = valid_until.filter(|end| Instant::now() < *end);
            set(&role, if valid_until.is_some() { Role::Leader } else { Role::Standby });
            let wait = if held.is_ok_and(|held| held) { RENEW_EVERY } else { TRY_EVERY };
            let next = start + wait;
            let next = valid_until.map_or(next, |end| next.min(end));
            tokio::select! {
                () = sleep_until(next) => {}
                () = resign.cancelled() => break,
            }
        }
        set(&role, Role::Standby);
        self.release().await;
    }

    /// Whether this replica holds the Lease after the attempt.
    async fn try_to_hold(&mut self) -> Result<bool, LeaseError> {
        if let Some(lease) = self.held.take()
            && self.write(lease).await?
        {
            return Ok(true);
        }
        let Some(lease) = self.read().await? else { return self.create().await };
        if !self.is_free(&lease.spec.clone().unwrap_or_default()) {
            return Ok(false);
        }
        self.write(lease).await
    }

    fn is_free(&mut self, spec: &LeaseSpec) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        match &self.seen {
            Some((seen, since)) if seen == spec => {
                let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                since.elapsed() > seconds.map_or(DURATION, Duration::from_secs)
            }
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                false
            }
        }
    }

    async fn create(&mut self) -> Result<bool, LeaseError> {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(self.renewed(LeaseSpec::default())),
        };
        let created = in_time(self.api.create(&PostParams::default(), &lease)).await;
        self.keep(created)
    }

    /// Writes the Lease with its resourceVersion: of two replicas that try at once, one fails.
    async fn write(&mut self, mut lease: Lease) -> Result<bool, LeaseError> {
        lease.spec = Some(self.renewed(lease.spec.unwrap_or_default()));
        let written = in_time(self.api.replace(&self.name, &PostParams::default(), &lease)).await;
        self.keep(written)
    }

    fn renewed(&self, old: LeaseSpec) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let keeps = old.holder_identity.as_ref() == Some(&self.identity);
        let transitions = old.lease_transitions.unwrap_or(0).saturating_add(i32::from(!keeps));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: old.acquire_time.filter(|_| keeps).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    fn keep(&mut self, written: Result<Lease, LeaseError>) -> Result<bool, LeaseError> {
        match written {
            Ok(lease) => {
                self.held = Some(lease);
                Ok(true)
            }
            Err(LeaseError::Request(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        in_time(self.api.get_opt(&self.name)).await
    }

    /// Lets the next replica take over at once.
    async fn release(&mut self) {
        self.held = None;
        match self.try_to_release().await {
            Ok(true) => tracing::info!(lease = self.name, "released the Lease"),
            Ok(false) => {}
            Err(error) => tracing::warn!(lease = self.name, %error, "cannot release the Lease: it runs out"),
        }
    }

    /// Whether this replica held the Lease until now. It is read first: a renewal whose answer was lost may have been carried out.
    async fn try_to_release(&self) -> Result<bool, LeaseError> {
        let Some(mut lease) = self.read().await? else { return Ok(false) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.take_if(|holder| *holder == self.identity).is_none() {
            return Ok(false);
        }
        in_time(self.api.replace(&self.name, &PostParams::default(), &lease)).await?;
        Ok(true)
    }
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    timeout(CALL_TIMEOUT, call.err_into()).await.unwrap_or(Err(LeaseError::Silent))
}

fn set(role: &watch::Sender<Role>, new: Role) {
    let changed = role.send_if_modified(|old| std::mem::replace(old, new) != new);
    if changed {
        tracing::info!(role = ?new, "the role changed");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use clap::Parser as _;
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// A candidate named `p`, and the Lease that its API server keeps, which `holder` has.
    fn candidate(holder: &str) -> (Candidate, Arc<Mutex<Value>>) {
        let lease = Arc::new(Mutex::new(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "trellis-operator"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 6},
        })));
        let kept = lease.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let kept = kept.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let mut kept = kept.lock().unwrap();
                if parts.method == Method::PUT {
                    *kept = serde_json::from_slice(&body).unwrap();
                }
                Ok::<_, Infallible>(Response::new(Body::from(kept.to_string().into_bytes())))
            }
        });
        let settings =
            Settings::parse_from(["", "--operator-namespace=a", "--pod-name=p", "--output-uri=gs://b"]);
        (Candidate::new(Client::new(service, "a"), &settings, WatchProgress::new()), lease)
    }

    #[tokio::test]
    async fn the_lease_is_released_also_when_the_last_renewal_had_no_answer() {
        let (mut candidate, lease) = candidate("p");
        assert!(candidate.held.is_none(), "it knows of no renewal");
        candidate.release().await;
        assert_eq!(lease.lock().unwrap()["spec"]["holderIdentity"], Value::Null);
    }

    #[tokio::test]
    async fn the_lease_of_another_is_left_alone() {
        let (mut candidate, lease) = candidate("q");
        assert!(!candidate.try_to_hold().await.unwrap());
        candidate.release().await;
        assert_eq!(lease.lock().unwrap()["spec"]["holderIdentity"], "q");
    }

    #[tokio::test]
    async fn a_leader_whose_watches_show_nothing_leaves_the_lease_to_another_until_they_do() {
        let (candidate, lease) = candidate("");
        let progress = candidate.progress.clone();
        let (sender, mut role) = watch::channel(Role::Standby);
        let (resign, mut was) = (CancellationToken::new(), Vec::new());
        let campaign = tokio::spawn(candidate.campaign(sender, resign.clone()));
        for age in [BLIND, Duration::ZERO, Duration::ZERO] {
            role.changed().await.unwrap();
            was.push(*role.borrow_and_update());
            progress.grow_old(age);
        }
        resign.cancel();
        campaign.await.unwrap();
        assert_eq!(was, [Role::Leader, Role::Standby, Role::Leader]);
        assert_eq!(lease.lock().unwrap()["spec"]["leaseTransitions"], 2, "it was free in between");
    }

    #[test]
    fn a_holder_gives_up_before_others_take_over_and_has_time_for_two_tries() {
        assert!(RENEW_DEADLINE + CALL_TIMEOUT < DURATION, "its last request may still be carried out");
        assert!(RENEW_EVERY + CALL_TIMEOUT + TRY_EVERY < RENEW_DEADLINE, "one request may hang");
        assert!(DURATION + TRY_EVERY + CALL_TIMEOUT < Duration::from_secs(10), "a job waits too long");
    }
}
