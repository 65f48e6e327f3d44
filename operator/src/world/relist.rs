//! Watches: single changes, and complete lists after a watch was interrupted.

use std::collections::HashSet;

use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use super::World;
use crate::key::Uid;
use crate::observe::Observed;
use crate::validate::{Invalid, Job, Pool, Worker};

/// What the lists that are under way have shown so far.
#[derive(Debug, Default)]
pub(super) struct Relists {
    jobs: Relist,
    pools: Relist,
    workers: Relist,
    catch_up: Option<CatchUp>,
}

/// What the watches showed since a new leader asked for its own lists of jobs and workers.
#[derive(Debug, Default)]
struct CatchUp {
    /// What was seen to go: the leader's lists, which may be older, must not bring it back.
    gone: HashSet<Uid>,
    /// A watch listed everything anew: what it does not show may be gone, or too new for it.
    outdated: bool,
}

#[derive(Debug, Default)]
struct Relist {
    /// What the list has shown; `None` while none is under way.
    seen: Option<HashSet<Uid>>,
    done: bool,
}

impl Relists {
    pub(super) fn all_done(&self) -> bool {
        self.jobs.done && self.pools.done && self.workers.done
    }

    /// Whether what the jobs and workers are is being listed.
    fn are_under_way(&self) -> bool {
        !self.jobs.done || !self.workers.done || self.jobs.seen.is_some() || self.workers.seen.is_some()
    }

    fn restarted(&mut self) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.outdated = true;
        }
    }

    /// Remembers that an object went, for as long as something older may yet be taken in.
    pub(super) fn gone(&mut self, uid: &Uid) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.gone.insert(uid.clone());
        }
    }

    /// Whether the object was seen to go.
    pub(super) fn is_gone(&self, uid: &Uid) -> bool {
        self.catch_up.as_ref().is_some_and(|catch_up| catch_up.gone.contains(uid))
    }

    /// A list that is under way may be older than this write of ours.
    pub(super) fn keep_job(&mut self, uid: &Uid) {
        self.jobs.note(uid.clone());
    }

    /// See [`Relists::keep_job`].
    pub(super) fn keep_worker(&mut self, uid: &Uid) {
        self.workers.note(uid.clone());
    }
}

/// A change of one object, or of the list, reduced to what the caches need.
enum Step<T> {
    ListBegins,
    Listed(Uid, Option<T>),
    ListEnds,
    Changed(Uid, Option<T>),
}

impl World {
    /// Whether a new leader may ask for its own lists: while the watches list, none of both could be told to be the newer.
    pub(crate) fn may_catch_up(&self) -> bool {
        !self.relists.are_under_way()
    }

    /// A new leader asks for its own lists.
    pub(crate) fn begin_catch_up(&mut self) {
        self.relists.catch_up = Some(CatchUp::default());
    }

    /// Takes in a new leader's own lists. Says whether they can be relied on; otherwise it is to ask again.
    pub(crate) fn end_catch_up(&mut self, news: Vec<Observed>, now: Timestamp) -> bool {
        let usable = self.relists.catch_up.as_ref().is_some_and(|catch_up| !catch_up.outdated);
        if usable {
            news.into_iter().for_each(|news| self.observe(news, now));
        }
        self.relists.catch_up = None;
        usable
    }

    /// Takes in what a watch showed.
    pub(crate) fn observe(&mut self, observed: Observed, now: Timestamp) {
        match observed {
            Observed::Job(event) => {
                let step = self.step("GenerationJob", event, Job::new);
                self.step_jobs(step, now);
            }
            Observed::Pool(event) => {
                let settings = self.settings.clone();
                let step = self.step("WorkerPool", event, |pool| Pool::new(pool, &settings));
                self.step_pools(step, now);
            }
            Observed::Worker(event) => {
                let step = self.step("Pod", event, |pod| Worker::new(&pod));
                self.step_workers(step, now);
            }
        }
    }

    fn step_jobs(&mut self, step: Step<Job>, now: Timestamp) {
        match step {
            Step::ListBegins => {
                self.relists.jobs.begin();
                self.relists.restarted();
            }
            Step::ListEnds => {
                let seen = self.relists.jobs.end();
                let gone: Vec<Uid> = self.jobs.keys().filter(|uid| !seen.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.remove_job(uid, now));
            }
            Step::Listed(uid, job) => {
                self.relists.jobs.note(uid);
                job.into_iter().for_each(|job| self.observe_job(job, now));
            }
            Step::Changed(_, Some(job)) => self.observe_job(job, now),
            Step::Changed(uid, None) => self.remove_job(&uid, now),
        }
    }

    fn step_workers(&mut self, step: Step<Worker>, now: Timestamp) {
        match step {
            Step::ListBegins => {
                self.relists.workers.begin();
                self.relists.restarted();
            }
            Step::ListEnds => {
                let seen = self.relists.workers.end();
                let gone: Vec<Uid> =
                    self.workers.keys().filter(|uid| !seen.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.remove_worker(uid));
            }
            Step::Listed(uid, worker) => {
                self.relists.workers.note(uid);
                worker.into_iter().for_each(|worker| self.observe_worker(worker, now));
            }
            Step::Changed(_, Some(worker)) => self.observe_worker(worker, now),
            Step::Changed(uid, None) => self.remove_worker(&uid),
        }
    }

    fn step_pools(&mut self, step: Step<Pool>, now: Timestamp) {
        match step {
            Step::ListBegins => self.relists.pools.begin(),
            Step::ListEnds => {
                let seen = self.relists.pools.end();
                let pools = self.pools.values().map(|pool| &pool.identity.uid);
                let gone: Vec<Uid> = pools.filter(|uid| !seen.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.remove_pool(uid, now));
            }
            Step::Listed(uid, pool) => {
                self.relists.pools.note(uid);
                pool.into_iter().for_each(|pool| self.observe_pool(pool, now));
            }
            Step::Changed(_, Some(pool)) => self.observe_pool(pool, now),
            Step::Changed(uid, None) => self.remove_pool(&uid, now),
        }
    }

    /// An object that cannot be used is as good as none: it is logged, counted and left alone.
    fn step<K: Resource<DynamicType = ()>, T>(
        &self,
        kind: &'static str,
        event: Event<DeserializeGuard<K>>,
        validate: impl FnOnce(K) -> Result<T, Invalid>,
    ) -> Step<T> {
        let read = |guard: DeserializeGuard<K>| {
            let meta = guard.meta();
            let name =
                format!("{}/{}", meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""));
            let uid: Uid = meta.uid.as_deref().unwrap_or("").into();
            let valid = guard.0.map_err(|error| error.to_string());
            let valid = valid.and_then(|object| validate(object).map_err(|error| error.to_string()));
            let valid = valid.inspect_err(|error| {
                tracing::warn!(kind, object = name, error, "ignoring an object that cannot be used");
                self.metrics.invalid_objects.with_label_values(&[kind]).inc();
            });
            (uid, valid.ok())
        };
        match event {
            Event::Init => Step::ListBegins,
            Event::InitDone => Step::ListEnds,
            Event::InitApply(object) => {
                let (uid, object) = read(object);
                Step::Listed(uid, object)
            }
            Event::Apply(object) => {
                let (uid, object) = read(object);
                Step::Changed(uid, object)
            }
            Event::Delete(object) => Step::Changed(object.meta().uid.as_deref().unwrap_or("").into(), None),
        }
    }
}

impl Relist {
    fn begin(&mut self) {
        self.seen = Some(HashSet::new());
    }

    fn note(&mut self, uid: Uid) {
        if let Some(seen) = &mut self.seen {
            seen.insert(uid);
        }
    }

    fn end(&mut self) -> HashSet<Uid> {
        self.done = true;
        self.seen.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_remembered_only_while_a_list_is_under_way() {
        let mut relists = Relists::default();
        relists.keep_job(&"before".into());
        relists.jobs.begin();
        relists.keep_job(&"during".into());
        assert_eq!(relists.jobs.end(), HashSet::from(["during".into()]));
        (0..1000).for_each(|job| relists.keep_job(&job.to_string().as_str().into()));
        assert!(relists.jobs.seen.is_none(), "grows with every job: {:?}", relists.jobs);
    }
}
