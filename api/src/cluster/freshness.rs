//! How old what a watch told may be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;

/// For how long nothing may be heard of a watch, which is renewed every minute.
const SILENCE: Duration = Duration::from_secs(90);

/// When a watch was last heard of. A watch with nothing to tell is heard of all the same, each time that the API server takes it up again.
#[derive(Clone, Debug)]
pub(crate) struct Freshness(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    heard: Instant,
    /// It failed since then.
    broken: bool,
}

impl State {
    fn age(self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.heard);
        (self.broken || age > SILENCE).then_some(age)
    }
}

impl Freshness {
    /// As if the watch had just been heard of.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { heard: Instant::now(), broken: false })))
    }

    /// `client`, whose answers are heard.
    pub(crate) fn listen(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let freshness = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, freshness) = (client.clone(), freshness.clone());
            async move {
                let response: Response<Body> = client.send(request).await?;
                if response.status().is_success() {
                    freshness.heard();
                }
                Ok::<_, kube::Error>(response)
            }
        });
        Client::new(service, namespace)
    }

    /// The watch told something, or was taken up.
    pub(crate) fn heard(&self) {
        self.set(|state| *state = State { heard: Instant::now(), broken: false });
    }

    /// The watch failed.
    pub(crate) fn broke(&self) {
        self.set(|state| state.broken = true);
    }

    /// How old what the watch told may be; `None` while the API server is there to tell of changes.
    pub(crate) fn age(&self) -> Option<Duration> {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.age(Instant::now())
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_old_when_it_failed_or_was_not_taken_up_for_long() {
        let heard = Instant::now();
        let after = |seconds| heard + Duration::from_secs(seconds);
        let whole = State { heard, broken: false };
        assert_eq!(whole.age(after(70)), None, "a watch with nothing to tell is renewed every minute");
        assert_eq!(whole.age(after(100)), Some(Duration::from_secs(100)));
        let broken = State { broken: true, ..whole };
        assert_eq!(broken.age(after(3)), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_watch_that_is_taken_up_again_is_as_good_as_new() {
        let freshness = Freshness::new();
        freshness.broke();
        assert!(freshness.age().is_some());
        freshness.heard();
        assert_eq!(freshness.age(), None);
    }
}
