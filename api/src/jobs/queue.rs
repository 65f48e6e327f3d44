//! Which jobs wait for which pool, in the order in which the operator takes them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use trellis_crds::{GenerationJob, InputKind, Phase, WorkerPool, conditions, queued_since};

use super::cache::Key;
use super::ranking::Ranking;

/// The jobs that wait.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    waiting: HashMap<Key, Waiting>,
    /// By the namespace and name of the pool.
    queues: HashMap<PoolKey, Ranking<Place>>,
    pools: BTreeMap<PoolKey, Offer>,
    /// Of what `pools` was made of.
    fingerprint: u64,
}

type PoolKey = (String, String);

/// What a pool takes.
#[derive(Debug)]
struct Offer {
    inputs: Vec<InputKind>,
    model: String,
}

/// A job that waits.
#[derive(Debug)]
struct Waiting {
    place: Place,
    pool: Option<String>,
    input: InputKind,
    model: Option<String>,
    /// The queue that it is in.
    queue: Option<PoolKey>,
}

/// A job's place in its queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    since: Timestamp,
    created: Timestamp,
    name: String,
    namespace: String,
}

impl Queues {
    /// Takes in how a job is now.
    pub(crate) fn put(&mut self, key: &Key, job: &GenerationJob, shared: &str) {
        self.remove(key);
        let Some(mut waiting) = waiting(key, job) else { return };
        waiting.queue = self.pool_of(&key.namespace, &waiting, shared);
        self.enqueue(key, waiting);
    }

    /// The job is gone.
    pub(crate) fn remove(&mut self, key: &Key) {
        let Some(Waiting { place, queue: Some(pool), .. }) = self.waiting.remove(key) else { return };
        if let Some(queue) = self.queues.get_mut(&pool) {
            queue.remove(&place);
        }
    }

    /// The job's place in its pool's queue, 1 for the next; `None` for one that does not wait, or that no pool takes.
    pub(crate) fn position(&self, key: &Key) -> Option<usize> {
        let waiting = self.waiting.get(key)?;
        Some(self.queues.get(waiting.queue.as_ref()?)?.before(&waiting.place) + 1)
    }

    /// Whether jobs are in the queues of these pools.
    pub(crate) fn know(&self, pools: &[Arc<WorkerPool>]) -> bool {
        self.fingerprint == fingerprint(pools)
    }

    /// Puts all jobs into the queues of these pools.
    pub(crate) fn learn(&mut self, pools: &[Arc<WorkerPool>], shared: &str) {
        let offer = |pool: &Arc<WorkerPool>| {
            let key = (pool.namespace().unwrap_or_default(), pool.name_any());
            (key, Offer { inputs: pool.spec.inputs.clone(), model: pool.spec.model.clone() })
        };
        self.pools = pools.iter().map(offer).collect();
        self.fingerprint = fingerprint(pools);
        self.queues.clear();
        for (key, mut waiting) in std::mem::take(&mut self.waiting) {
            waiting.queue = self.pool_of(&key.namespace, &waiting, shared);
            self.enqueue(&key, waiting);
        }
    }

    fn enqueue(&mut self, key: &Key, waiting: Waiting) {
        if let Some(pool) = &waiting.queue {
            self.queues.entry(pool.clone()).or_default().insert(waiting.place.clone());
        }
        self.waiting.insert(key.clone(), waiting);
    }

    /// The pool that the operator gives the job to: the one that it names, or the first by name that takes it; those of its own namespace come
    /// before those of `shared`, the operator's.
    fn pool_of(&self, namespace: &str, waiting: &Waiting, shared: &str) -> Option<PoolKey> {
        let takes = |offer: &Offer| {
            offer.inputs.contains(&waiting.input)
                && waiting.model.as_ref().is_none_or(|model| *model == offer.model)
        };
        [namespace, shared]
            .into_iter()
            .find_map(|namespace| match &waiting.pool {
                Some(name) => self.pools.get_key_value(&(namespace.to_owned(), name.clone())),
                None => {
                    let first = (namespace.to_owned(), String::new());
                    let own = self.pools.range(first..).take_while(|((other, _), _)| other == namespace);
                    own.into_iter().find(|(_, offer)| takes(offer))
                }
            })
            .filter(|(_, offer)| takes(offer))
            .map(|(key, _)| key.clone())
    }
}

fn fingerprint(pools: &[Arc<WorkerPool>]) -> u64 {
    let each = pools.iter().map(|pool| {
        let mut hasher = DefaultHasher::new();
        (&pool.metadata.uid, pool.metadata.generation).hash(&mut hasher);
        hasher.finish()
    });
    // In whatever order they come.
    each.fold(pools.len() as u64, u64::wrapping_add)
}

/// The job, where a worker that gets free may take it.
fn waiting(key: &Key, job: &GenerationJob) -> Option<Waiting> {
    let conditions = job.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let scheduled = conditions::get(conditions, conditions::SCHEDULED);
    let backs_off = scheduled.is_some_and(|scheduled| scheduled.reason == conditions::reason::BACKING_OFF);
    let held = job.spec.suspend || job.spec.cancel || job.metadata.deletion_timestamp.is_some() || backs_off;
    if job.phase() != Phase::Pending || held {
        return None;
    }
    let created = job.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |created| created.0);
    let place = Place {
        since: queued_since(created, job.spec.priority),
        created,
        name: key.name.clone(),
        namespace: key.namespace.clone(),
    };
    let (pool, model) = (job.spec.pool.clone(), job.spec.model.clone());
    Some(Waiting { place, pool, input: job.spec.input.kind()?, model, queue: None })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;
    use trellis_crds::{TextInput, WorkerPoolSpec};

    use super::*;

    fn pool(namespace: &str, name: &str, inputs: &[InputKind]) -> Arc<WorkerPool> {
        let spec = WorkerPoolSpec { inputs: inputs.to_vec(), model: "m".into(), ..Default::default() };
        let mut pool = WorkerPool::new(name, spec);
        pool.metadata.namespace = Some(namespace.into());
        pool.metadata.uid = Some(name.into());
        Arc::new(pool)
    }

    fn text(second: i64) -> GenerationJob {
        let mut job = GenerationJob::default();
        job.spec.input.text = Some(TextInput { prompt: "a cup".into() });
        job.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
        job
    }

    fn key(name: &str) -> Key {
        Key { namespace: "team".into(), name: name.into() }
    }

    fn places(queues: &Queues, names: &[&str]) -> Vec<Option<usize>> {
        names.iter().map(|name| queues.position(&key(name))).collect()
    }

    #[test]
    fn jobs_are_counted_in_the_order_in_which_they_are_taken() {
        let mut queues = Queues::default();
        queues.learn(&[pool("trellis", "a", &[InputKind::Text])], "trellis");
        let mut urgent = text(100);
        urgent.spec.priority = 2;
        for (name, job) in [("old", text(0)), ("older", text(-1)), ("urgent", urgent)] {
            queues.put(&key(name), &job, "trellis");
        }
        assert_eq!(places(&queues, &["urgent", "older", "old"]), [Some(1), Some(2), Some(3)]);
        let mut running = text(-1);
        running.status = serde_json::from_value(json!({"phase": "Processing"})).unwrap();
        queues.put(&key("older"), &running, "trellis");
        assert_eq!(places(&queues, &["urgent", "older", "old"]), [Some(1), None, Some(2)]);
        queues.remove(&key("urgent"));
        assert_eq!(places(&queues, &["urgent", "old"]), [None, Some(1)]);
    }

    #[test]
    fn each_pool_has_its_own_queue() {
        let pools = [
            pool("trellis", "a", &[InputKind::Text]),
            pool("trellis", "b", &[InputKind::Text]),
            pool("trellis", "images", &[InputKind::Image]),
        ];
        let mut queues = Queues::default();
        queues.learn(&pools, "trellis");
        let named = |name: &str| {
            let mut job = text(5);
            job.spec.pool = Some(name.into());
            job
        };
        let mut of_another_model = text(4);
        of_another_model.spec.model = Some("other".into());
        let jobs = [
            ("first", text(1)),
            ("b", named("b")),
            ("second", text(2)),
            ("wrong", named("images")),
            ("nowhere", named("c")),
            ("model", of_another_model),
        ];
        for (name, job) in &jobs {
            queues.put(&key(name), job, "trellis");
        }
        let all = jobs.each_ref().map(|(name, _)| *name);
        assert_eq!(places(&queues, &all), [Some(1), Some(1), Some(2), None, None, None]);

        // A pool of the own namespace comes first.
        let own = [pools.as_slice(), &[pool("team", "z", &[InputKind::Text])]].concat();
        assert!(queues.know(&pools) && !queues.know(&own));
        queues.learn(&own, "trellis");
        assert!(queues.know(&own));
        assert_eq!(places(&queues, &["first", "second", "b"]), [Some(1), Some(2), Some(1)]);
        queues.learn(&[], "trellis");
        assert_eq!(places(&queues, &["first", "second", "b"]), [None; 3]);
    }

    #[test]
    fn jobs_that_no_worker_may_take_now_have_no_place() {
        let mut queues = Queues::default();
        queues.learn(&[pool("team", "a", &[InputKind::Text])], "trellis");
        let mut suspended = text(1);
        suspended.spec.suspend = true;
        let mut failed_before = text(1);
        failed_before.status = serde_json::from_value(json!({
            "phase": "Pending",
            "conditions": [{
                "type": "Scheduled", "status": "False", "reason": "BackingOff", "message": "",
                "lastTransitionTime": "2026-11-24T07:00:00Z",
            }],
        }))
        .unwrap();
        for (name, job) in [("suspended", suspended), ("backs-off", failed_before), ("waits", text(9))] {
            queues.put(&key(name), &job, "trellis");
        }
        assert_eq!(places(&queues, &["suspended", "backs-off", "waits"]), [None, None, Some(1)]);
    }
}
