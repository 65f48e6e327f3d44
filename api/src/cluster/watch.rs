//! Watches: what they tell, and stores that they fill.

use std::fmt::Debug;
use std::hash::Hash;

use futures::{Stream, StreamExt as _, future};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

/// How long one watch request may last, in seconds. A connection that died silently is noticed that soon.
const WATCH_SECONDS: u32 = 60;
/// How many objects one answer to a list has, at most. Until they are taken in they weigh far more than what is kept of them.
const PAGE: u32 = 100;

/// A store of the objects behind `api`, and the future that fills it for as long as it is polled. It survives the API server's absence and objects
/// that it cannot read; then the store keeps what it had.
pub(crate) fn watch<K>(
    api: Api<DeserializeGuard<K>>,
    config: Config,
) -> (Store<K>, impl Future<Output = ()> + Send)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Clone + Eq + Hash + Send + Sync,
{
    let (store, writer) = reflector::store();
    let fill = reflector::reflector(writer, changes(api, config)).for_each(|_| future::ready(()));
    (store, fill)
}

/// All changes of the objects behind `api`, for ever: a watch that fails says so and is taken up again. Objects that cannot be read are left out.
pub(crate) fn changes<K>(
    api: Api<DeserializeGuard<K>>,
    config: Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let config = config.timeout(WATCH_SECONDS).page_size(PAGE);
    let events = watcher::watcher(api, config).default_backoff();
    events.filter_map(|event| {
        if let Err(error) = &event {
            tracing::warn!(%error, kind = %K::kind(&K::DynamicType::default()), "watch interrupted");
        }
        future::ready(event.map(decode).transpose())
    })
}

fn decode<K: Resource>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    Some(match event {
        Event::Apply(object) => Event::Apply(readable(object)?),
        Event::Delete(object) => Event::Delete(readable(object)?),
        Event::InitApply(object) => Event::InitApply(readable(object)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

fn readable<K: Resource>(object: DeserializeGuard<K>) -> Option<K> {
    match object.0 {
        Ok(mut object) => {
            // By far the largest part of a small object, and of no use here.
            object.managed_fields_mut().clear();
            Some(object)
        }
        Err(invalid) => {
            tracing::warn!(
                error = invalid.error,
                "an object cannot be read; is the installed definition of another version?"
            );
            None
        }
    }
}
