//! The jobs that the watch told of, indexed by how they are asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use trellis_crds::{GenerationJob, InputKind, Phase, WorkerPool, labels};

use super::packed::Packed;
use super::page::{Cursor, Filter, Selection, Totals};
use super::queue::Queues;
use crate::auth::Caller;
use crate::limits::quotas::Known;

/// The namespace and name of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name, which is the job's id.
    pub name: String,
}

/// The jobs that the watch told of.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    namespaces: HashMap<String, Namespace>,
    queues: Queues,
    /// The namespace of the pools that serve every namespace.
    shared: String,
    /// How often all jobs began to be read.
    reading: u64,
}

#[derive(Debug, Default)]
struct Namespace {
    jobs: HashMap<String, Kept>,
    /// Each user's jobs in the order of their creation.
    users: HashMap<String, BTreeSet<Cursor>>,
}

/// A job, and of it what lists are chosen by.
#[derive(Debug)]
struct Kept {
    user: String,
    place: Cursor,
    created: Timestamp,
    phase: Phase,
    input: Option<InputKind>,
    /// The uid and resourceVersion.
    version: (Option<String>, Option<String>),
    /// The last reading of all jobs that it was in.
    reading: u64,
    packed: Packed,
}

impl Cache {
    /// No jobs; pools in the namespace `shared` serve every namespace.
    pub(crate) fn new(shared: String) -> Self {
        Self { shared, ..Self::default() }
    }

    /// Takes in what the watch tells. Returns the jobs that are not as they were.
    pub(crate) fn take_in(&mut self, event: Event<GenerationJob>) -> Vec<Key> {
        match event {
            Event::Init => {
                self.reading += 1;
                Vec::new()
            }
            Event::InitApply(job) | Event::Apply(job) => self.put(job).into_iter().collect(),
            Event::Delete(job) => self.remove(&key(&job)).into_iter().collect(),
            Event::InitDone => self.remove_unread(),
        }
    }

    fn put(&mut self, job: GenerationJob) -> Option<Key> {
        let key = key(&job);
        let Some(user) = user(&job) else { return self.remove(&key) };
        let version = (job.metadata.uid.clone(), job.metadata.resource_version.clone());
        let known = self.namespaces.get_mut(&key.namespace).and_then(|known| known.jobs.get_mut(&key.name));
        if let Some(known) = known.filter(|known| known.version == version) {
            known.reading = self.reading;
            return None;
        }
        self.remove(&key);
        self.queues.put(&key, &job, &self.shared);
        let place = Cursor::at(&job);
        let kept = Kept {
            place: place.clone(),
            created: created(&job),
            phase: job.phase(),
            input: job.spec.input.kind(),
            version,
            reading: self.reading,
            user: user.clone(),
            packed: Packed::new(job)
                .inspect_err(|error| tracing::error!(%error, "a job cannot be packed"))
                .ok()?,
        };
        let namespace = self.namespaces.entry(key.namespace.clone()).or_default();
        namespace.jobs.insert(key.name.clone(), kept);
        namespace.users.entry(user).or_default().insert(place);
        Some(key)
    }

    fn remove(&mut self, key: &Key) -> Option<Key> {
        self.queues.remove(key);
        let namespace = self.namespaces.get_mut(&key.namespace)?;
        let gone = namespace.jobs.remove(&key.name)?;
        if let Some(places) = namespace.users.get_mut(&gone.user) {
            places.remove(&gone.place);
            if places.is_empty() {
                namespace.users.remove(&gone.user);
            }
        }
        if namespace.jobs.is_empty() {
            self.namespaces.remove(&key.namespace);
        }
        Some(key.clone())
    }

    /// All jobs were read: the others are gone.
    fn remove_unread(&mut self) -> Vec<Key> {
        let unread = |(namespace, jobs): (&String, &Namespace)| {
            let of = |name: &String| Key { namespace: namespace.clone(), name: name.clone() };
            let old = jobs.jobs.iter().filter(|(_, kept)| kept.reading != self.reading);
            old.map(|(name, _)| of(name)).collect::<Vec<_>>()
        };
        let unread: Vec<_> = self.namespaces.iter().flat_map(unread).collect();
        unread.into_iter().filter_map(|key| self.remove(&key)).collect()
    }

    /// The job of this name, and its user.
    pub(crate) fn get(&self, key: &Key) -> Option<(&str, Packed)> {
        let kept = self.namespaces.get(&key.namespace)?.jobs.get(&key.name)?;
        Some((&kept.user, kept.packed.clone()))
    }

    /// The job's place in its pool's queue, 1 for the next, where the jobs are in the queues of these pools.
    pub(crate) fn position(&self, key: &Key, pools: &[Arc<WorkerPool>]) -> Result<Option<usize>, OtherPools> {
        self.queues.know(pools).then(|| self.queues.position(key)).ok_or(OtherPools)
    }

    /// Puts all jobs into the queues of these pools.
    pub(crate) fn learn_pools(&mut self, pools: &[Arc<WorkerPool>]) {
        self.queues.learn(pools, &self.shared);
    }

    /// The caller's jobs that fit `filter`, the newest first, at most `limit` of them from `after` on.
    pub(crate) fn select(
        &self,
        caller: &Caller,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Selection {
        let mut selection = Selection::default();
        let mut totals = Totals::default();
        for kept in self.owned(caller) {
            if !filter.admits(kept.input, kept.created) {
                continue;
            }
            totals.count(kept.phase);
            let is_here = after.is_none_or(|after| kept.place < *after) && filter.admits_phase(kept.phase);
            match is_here {
                true if selection.jobs.len() < limit => selection.jobs.push(kept.packed.clone()),
                true => selection.has_more = true,
                false => {}
            }
        }
        Selection { totals, ..selection }
    }

    /// What quotas have to know of the jobs that the caller has made.
    pub(crate) fn made_by(&self, caller: &Caller) -> Vec<Known> {
        let known = |kept: &Kept| Known {
            name: kept.place.name().to_owned(),
            phase: kept.phase,
            created: kept.created,
        };
        self.of_user(&caller.namespace, &caller.user).map(known).collect()
    }

    /// The jobs that the caller may see, the newest first: an administrator those of all users of the namespace.
    fn owned(&self, caller: &Caller) -> Vec<&Kept> {
        if !caller.is_admin() {
            return self.of_user(&caller.namespace, &caller.user).collect();
        }
        let namespace = self.namespaces.get(&caller.namespace);
        let mut all: Vec<&Kept> =
            namespace.into_iter().flat_map(|namespace| namespace.jobs.values()).collect();
        all.sort_unstable_by(|one, other| other.place.cmp(&one.place));
        all
    }

    /// The user's jobs, the newest first.
    fn of_user(&self, namespace: &str, user: &str) -> impl Iterator<Item = &Kept> {
        let namespace = self.namespaces.get(namespace);
        let places = namespace.and_then(|namespace| namespace.users.get(user));
        places.into_iter().flatten().rev().filter_map(move |place| namespace?.jobs.get(place.name()))
    }
}

/// The queues are those of other pools.
#[derive(Debug)]
pub(crate) struct OtherPools;

fn key(job: &GenerationJob) -> Key {
    Key { namespace: job.namespace().unwrap_or_default(), name: job.name_any() }
}

/// Whose job it is; `None` for one that did not come over REST.
pub(crate) fn user(job: &GenerationJob) -> Option<String> {
    let labels = job.labels();
    let is_ours = labels.get(labels::MANAGED_BY).is_some_and(|value| value == labels::MANAGED_BY_API);
    labels.get(labels::USER).filter(|_| is_ours).cloned()
}

fn created(job: &GenerationJob) -> Timestamp {
    job.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |created| created.0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use trellis_crds::TextInput;

    use super::*;
    use crate::auth::scopes::Scope;

    fn job(user: &str, name: &str, version: u32) -> GenerationJob {
        let mut job = GenerationJob::default();
        job.metadata.name = Some(name.into());
        job.metadata.namespace = Some("team".into());
        job.metadata.resource_version = Some(version.to_string());
        job.metadata.creation_timestamp = Some(Time(Timestamp::from_second(100).unwrap()));
        job.spec.input.text = Some(TextInput { prompt: "a cup".into() });
        job.labels_mut().insert(labels::USER.into(), user.into());
        job.labels_mut().insert(labels::MANAGED_BY.into(), labels::MANAGED_BY_API.into());
        job
    }

    fn named(name: &str) -> Key {
        Key { namespace: "team".into(), name: name.into() }
    }

    fn all(cache: &Cache, user: &str) -> Vec<String> {
        let mut caller = Caller::of(user, "team");
        if user == "admin" {
            caller.scopes = [Scope::Read, Scope::Admin].into_iter().collect();
        }
        let selection = cache.select(&caller, &Filter::default(), None, 100);
        selection.jobs.iter().map(|job| job.unpack().unwrap().name_any()).collect()
    }

    #[test]
    fn each_user_has_the_jobs_that_were_not_deleted() {
        let mut cache = Cache::default();
        for (user, name) in [("alice", "a"), ("bob", "b"), ("alice", "c")] {
            assert_eq!(cache.take_in(Event::Apply(job(user, name, 1))), [named(name)]);
        }
        assert_eq!(
            (all(&cache, "alice"), all(&cache, "bob")),
            (vec!["c".into(), "a".into()], vec!["b".into()])
        );
        assert_eq!(all(&cache, "admin"), ["c", "b", "a"], "an administrator sees those of all");
        assert_eq!(cache.made_by(&Caller::of("alice", "team")).len(), 2);
        assert_eq!(cache.take_in(Event::Delete(job("alice", "a", 2))), [named("a")]);
        assert_eq!(all(&cache, "alice"), ["c"]);
        let mut foreign = job("alice", "c", 3);
        foreign.labels_mut().remove(labels::USER);
        cache.take_in(Event::Apply(foreign));
        assert_eq!(all(&cache, "alice"), Vec::<String>::new());
        assert!(cache.get(&named("c")).is_none() && cache.get(&named("b")).is_some());
    }

    #[test]
    fn reading_all_jobs_again_tells_what_changed_and_what_went() {
        let mut cache = Cache::default();
        for name in ["same", "changed", "gone"] {
            cache.take_in(Event::Apply(job("alice", name, 1)));
        }
        assert!(cache.take_in(Event::Init).is_empty());
        assert_eq!(all(&cache, "alice").len(), 3, "nothing is missing while they are read");
        assert!(cache.take_in(Event::InitApply(job("alice", "same", 1))).is_empty());
        assert_eq!(cache.take_in(Event::InitApply(job("alice", "changed", 2))), [named("changed")]);
        assert_eq!(cache.take_in(Event::InitApply(job("alice", "new", 3))), [named("new")]);
        assert_eq!(cache.take_in(Event::InitDone), [named("gone")]);
        assert_eq!(all(&cache, "alice"), ["same", "new", "changed"]);
    }
}
