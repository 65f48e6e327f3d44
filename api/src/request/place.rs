//! How many requests may hold files at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Caller;

/// How many there are. Each request may hold 75 MiB (a body in base64, and what it is decoded into), and a pod has 2 GiB of which
/// the decoder of images may take 700 MiB.
pub(crate) const PLACES: usize = 16;

/// How many of them one user may have, so that one client's slow uploads do not keep the others waiting.
const PLACES_OF_ONE: usize = PLACES / 4;

/// The places of requests whose bodies are in memory.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    /// Of the users that have some or wait for one, by namespace and name.
    users: Mutex<HashMap<(String, String), Weak<Semaphore>>>,
}

impl Default for Places {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(PLACES)), users: Mutex::default() }
    }
}

/// A place, held by a request until it is answered.
#[derive(Debug)]
pub(crate) struct Place {
    _own: Option<OwnedSemaphorePermit>,
    _any: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// A place for a request of `caller`. Those that find none wait, their bodies unread, until the deadline of all requests: first
    /// come, first served, and with those of other users only once there is one of the user's own.
    pub(crate) async fn take(&self, caller: &Caller) -> Place {
        let own = self.of(caller).acquire_owned().await.ok();
        let any = self.all.clone().acquire_owned().await.ok();
        Place { _own: own, _any: any }
    }

    fn of(&self, caller: &Caller) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, places| places.strong_count() > 0);
        let user = (caller.namespace.clone(), caller.user.clone());
        if let Some(places) = users.get(&user).and_then(Weak::upgrade) {
            return places;
        }
        let places = Arc::new(Semaphore::new(PLACES_OF_ONE));
        users.insert(user, Arc::downgrade(&places));
        places
    }
}
