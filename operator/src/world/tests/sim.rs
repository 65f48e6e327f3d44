//! A simulated API server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use clap::Parser as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::SignedDuration;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use serde_json::json;
use trellis_crds::{Attempt, FailureReason, GenerationJob, Outcome, Phase, WorkerPool};

use super::*;
use crate::action::Stored;
use crate::apply::ApplyError;
use crate::observe::Observed;
use crate::plan::{Decision, Seat};
use crate::pressure::MOST_IN_FLIGHT;
use crate::status;
use crate::time::{Reading, seconds_after};
use crate::validate::{Job, Worker};

pub(super) const MAX_WORKERS: usize = 3;
pub(super) const SURGE: usize = 1;

/// The API server, its objects, and the operator's world.
pub(super) struct Sim {
    pub(super) world: World,
    /// The operator's time.
    pub(super) now: Timestamp,
    /// The API server's, which jumps, and the operator's clock.
    pub(super) wall: Timestamp,
    pub(super) clock: (Reading, Instant),
    /// How much time passed, when this process began, and when attempts were assigned, by job and number.
    pub(super) passed: SignedDuration,
    pub(super) started: SignedDuration,
    pub(super) assigned: BTreeMap<(String, i32), SignedDuration>,
    pub(super) version: u64,
    pub(super) jobs: BTreeMap<String, GenerationJob>,
    pub(super) pods: BTreeMap<String, Pod>,
    pub(super) pool: WorkerPool,
    pub(super) events: VecDeque<Observed>,
    pub(super) requests: Vec<Action>,
    /// Writes about jobs that nobody waits for any more, and that may be carried out yet.
    pub(super) late: Vec<Action>,
    /// The jobs that another leader gave to a worker, which may have another one until this one sees it.
    pub(super) intruders: BTreeSet<String>,
    /// What a new leader has listed and does not know yet.
    pub(super) caught_up: Option<Vec<Observed>>,
    pub(super) writes: usize,
}

pub(super) fn world() -> World {
    world_with(&[])
}

pub(super) fn world_with(flags: &[&str]) -> World {
    let required = ["", "--operator-namespace=a", "--pod-name=p", "--output-uri=gs://b"];
    let settings = Settings::parse_from(required.iter().chain(flags));
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    World::new(Arc::new(settings), metrics)
}

impl Sim {
    pub(super) fn new() -> Self {
        let pool = serde_json::from_value(json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "WorkerPool",
            "metadata": {
                "name": "image", "namespace": "a", "uid": "pool", "resourceVersion": "1", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "model": "m", "modelUri": "gs://b/m", "idleSeconds": 60, "replicas": {"min": 0, "max": MAX_WORKERS, "surge": SURGE},
                "template": {"spec": {"containers": [{"name": "worker"}]}},
            },
        }));
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (jobs, pods, events, requests, late) = Default::default();
        let intruders = BTreeSet::new();
        let mut sim = Self {
            world: world(),
            now,
            wall: now,
            clock: (Reading::new(now, Instant::now()), Instant::now()),
            passed: SignedDuration::ZERO,
            started: SignedDuration::ZERO,
            assigned: BTreeMap::new(),
            version: 1,
            jobs,
            pods,
            pool: pool.unwrap(),
            events,
            requests,
            late,
            intruders,
            caught_up: None,
            writes: 0,
        };
        sim.restart();
        sim
    }

    pub(super) fn elapse(&mut self, seconds: i32) {
        let (clock, instant) = &mut self.clock;
        clock.steer(self.wall, *instant);
        *instant += Duration::from_secs(seconds.try_into().unwrap());
        self.now = clock.at(*instant);
        self.passed += SignedDuration::from_secs(seconds.into());
        self.wall = seconds_after(self.wall, seconds);
    }

    /// A new process lists everything.
    pub(super) fn restart(&mut self) {
        self.now = self.wall;
        self.clock.0 = Reading::new(self.wall, self.clock.1);
        self.clock.0.steer(self.wall, self.clock.1);
        self.started = self.passed;
        self.world = world();
        self.requests.clear();
        self.late.clear();
        self.caught_up = None;
        self.events.clear();
        self.relist();
    }

    /// The watches list everything.
    pub(super) fn relist(&mut self) {
        let jobs =
            self.jobs.values().cloned().map(|job| Observed::Job(Event::InitApply(DeserializeGuard(Ok(job)))));
        let pods = self
            .pods
            .values()
            .cloned()
            .map(|pod| Observed::Worker(Event::InitApply(DeserializeGuard(Ok(pod)))));
        let pool = Observed::Pool(Event::InitApply(DeserializeGuard(Ok(self.pool.clone()))));
        let begin = [Observed::Job(Event::Init), Observed::Pool(Event::Init), Observed::Worker(Event::Init)];
        let end = [
            Observed::Job(Event::InitDone),
            Observed::Pool(Event::InitDone),
            Observed::Worker(Event::InitDone),
        ];
        let all: Vec<_> = begin.into_iter().chain(jobs).chain(pods).chain([pool]).chain(end).collect();
        all.into_iter().for_each(|event| self.world.observe(event, self.now));
        self.world.begin_term();
    }

    /// The new leader's caches lag, but it lists what runs before it decides. What was under way before may be carried out yet.
    pub(super) fn take_over(&mut self) {
        self.world.end_term(self.now);
        let requests = std::mem::take(&mut self.requests);
        self.late.extend(requests.into_iter().filter(is_about_a_job));
        let runs = |job: &&GenerationJob| job.phase() == Phase::Processing;
        let jobs = self
            .jobs
            .values()
            .filter(runs)
            .cloned()
            .map(|job| Observed::Job(Event::Apply(DeserializeGuard(Ok(job)))));
        let pods =
            self.pods.values().cloned().map(|pod| Observed::Worker(Event::Apply(DeserializeGuard(Ok(pod)))));
        self.caught_up = Some(pods.chain(jobs).collect());
        self.world.begin_catch_up();
    }

    /// The new leader gets the answer to its lists.
    pub(super) fn lead(&mut self) {
        let Some(news) = self.caught_up.take() else { return };
        assert!(self.world.end_catch_up(news, self.now));
        self.world.begin_term();
    }

    pub(super) fn plan(&mut self) {
        let mut batch = Batch::new(self.requests.len(), MOST_IN_FLIGHT);
        if self.requests.len() < MOST_IN_FLIGHT && self.caught_up.is_none() {
            self.world.plan(self.now, &mut batch);
        }
        let actions = batch.into_actions();
        self.requests.extend(actions.into_iter().filter(|action| !matches!(action, Action::Announce(_))));
    }

    pub(super) fn next_version(&mut self) -> Option<String> {
        self.version += 1;
        Some(self.version.to_string())
    }

    pub(super) fn create_job(&mut self, priority: i32) {
        let version = self.next_version();
        let name = format!("job-{}", self.version);
        let spec = json!({"input": {"image": {"sources": [{"uri": "gs://b/i.png"}]}}, "priority": priority, "backoffLimit": 2});
        let mut job = GenerationJob::new(&name, serde_json::from_value(spec).unwrap());
        job.metadata.namespace = Some("a".into());
        job.metadata.uid = Some(name.clone());
        job.metadata.generation = Some(1);
        job.metadata.creation_timestamp = Some(Time(self.wall));
        job.metadata.resource_version = version;
        self.store_job(job);
    }

    /// Somebody changes the pool.
    pub(super) fn change_pool(&mut self, change: impl FnOnce(&mut trellis_crds::WorkerPoolSpec)) {
        change(&mut self.pool.spec);
        self.pool.metadata.generation = self.pool.metadata.generation.map(|generation| generation + 1);
        self.pool.metadata.resource_version = self.next_version();
        self.events.push_back(Observed::Pool(Event::Apply(DeserializeGuard(Ok(self.pool.clone())))));
    }

    /// Somebody changes the pool's template to one that there was not before.
    pub(super) fn retemplate(&mut self) {
        let priority = Some(format!("class-{}", self.version));
        self.change_pool(|spec| spec.template.spec.as_mut().unwrap().priority_class_name = priority);
    }

    pub(super) fn store_job(&mut self, job: GenerationJob) {
        self.events.push_back(Observed::Job(Event::Apply(DeserializeGuard(Ok(job.clone())))));
        self.jobs.insert(job.metadata.name.clone().unwrap(), job);
    }

    /// Changes the n-th job, or deletes it.
    pub(super) fn with_job(&mut self, n: usize, change: impl FnOnce(GenerationJob) -> Option<GenerationJob>) {
        let Some(job) = self.jobs.values().nth(n % self.jobs.len().max(1)).cloned() else { return };
        match change(job.clone()) {
            Some(changed) if changed == job => {}
            Some(mut changed) => {
                changed.metadata.resource_version = self.next_version();
                self.store_job(changed);
            }
            None => {
                self.jobs.remove(job.metadata.name.as_deref().unwrap());
                self.events.push_back(Observed::Job(Event::Delete(DeserializeGuard(Ok(job)))));
            }
        }
    }

    pub(super) fn with_pod(&mut self, n: usize, change: impl FnOnce(Pod) -> Option<Pod>) {
        let Some(pod) = self.pods.values().nth(n % self.pods.len().max(1)).cloned() else { return };
        let name = pod.metadata.name.clone().unwrap();
        match change(pod.clone()) {
            Some(changed) if changed == pod => {}
            Some(mut changed) => {
                changed.metadata.resource_version = self.next_version();
                self.events.push_back(Observed::Worker(Event::Apply(DeserializeGuard(Ok(changed.clone())))));
                self.pods.insert(name, changed);
            }
            None => {
                self.pods.remove(&name);
                self.events.push_back(Observed::Worker(Event::Delete(DeserializeGuard(Ok(pod)))));
            }
        }
    }

    /// The worker of the n-th job reports, where it has one.
    pub(super) fn report(&mut self, n: usize, outcome: Outcome, reason: Option<FailureReason>) {
        let now = MicroTime(self.wall);
        self.with_job(n, |mut job| {
            let runs = job.phase() == Phase::Processing && job.current_attempt_ended().is_none();
            let Some(status) = job.status.as_mut().filter(|_| runs) else { return Some(job) };
            let assignment = status.assignment.clone().unwrap();
            let (number, worker, start) = (assignment.attempt, assignment.worker, assignment.time);
            status.record_attempt(Attempt {
                number,
                worker,
                start: start.clone(),
                end: now.clone(),
                outcome,
                reason,
                message: None,
            });
            if outcome == Outcome::Succeeded {
                status.phase = Some(Phase::Completed);
                status.start_time = Some(start.clone());
                status.completion_time = Some(now);
            }
            Some(job)
        });
    }

    pub(super) fn deliver(&mut self, n: usize) {
        for event in self.events.drain(..n.min(self.events.len())).collect::<Vec<_>>() {
            self.world.observe(event, self.now);
        }
    }

    pub(super) fn answer(&mut self, n: usize) {
        if self.requests.is_empty() {
            return;
        }
        self.writes += 1;
        let request = self.requests.remove(n % self.requests.len());
        let applied = self.carry_out(request);
        self.world.settle(applied, self.now);
    }

    /// A request is lost on its way.
    pub(super) fn lose(&mut self, n: usize) {
        if !self.requests.is_empty() {
            let request = self.requests.remove(n % self.requests.len());
            self.time_out(request);
        }
    }

    /// A write about a job is carried out, but its answer is lost.
    pub(super) fn lose_answer(&mut self, n: usize) {
        if let Some(request) = self.take_write(n) {
            self.carry_out(request.clone());
            self.time_out(request);
        }
    }

    /// A write about a job times out on its way and may be carried out later.
    pub(super) fn delay(&mut self, n: usize) {
        if let Some(request) = self.take_write(n) {
            self.late.push(request.clone());
            self.time_out(request);
        }
    }

    /// A write that timed out is carried out.
    pub(super) fn land(&mut self, n: usize) {
        if !self.late.is_empty() {
            let request = self.late.remove(n % self.late.len());
            self.carry_out(request);
        }
    }

    /// Another leader, which does not know yet that it is none any more, gives a job that waits to a worker.
    pub(super) fn intrude(&mut self, n: usize) {
        let waits = |job: &&GenerationJob| job.phase() == Phase::Pending;
        let Some(object) = self.jobs.values().filter(waits).nth(n % 2).cloned() else { return };
        let Some(pod) = self.pods.values().filter(|pod| !is_over(pod)).nth(n / 2) else { return };
        let name = pod.metadata.name.clone().unwrap();
        let seat = Seat {
            pool: Key::new("a", "image"),
            worker: name,
            uid: pod.metadata.uid.as_deref().unwrap().into(),
            time: self.wall,
            batch: 1,
            done_in: None,
        };
        let job = Job::new(object).unwrap();
        self.intruders.insert(job.identity.key.name.clone());
        self.decide(&job, &Decision::Assign(seat)).unwrap();
    }

    fn take_write(&mut self, n: usize) -> Option<Action> {
        let writes: Vec<usize> =
            (0..self.requests.len()).filter(|request| is_about_a_job(&self.requests[*request])).collect();
        Some(self.requests.remove(*writes.get(n % writes.len().max(1))?))
    }

    fn time_out(&mut self, request: Action) {
        let unknown = || ApplyError::Unknown("timed out".to_owned().into());
        let applied = match request {
            Action::Decide { job, .. } => {
                Applied::Decided { uid: job.identity.uid, result: Err(unknown()), notice: None }
            }
            Action::CreateWorker { pool, name } => {
                Applied::WorkerCreated { pool: pool.identity.key, name, result: Err(unknown()) }
            }
            Action::DeleteWorker { worker } => {
                Applied::WorkerDeleted { uid: worker.identity.uid, result: Err(unknown()) }
            }
            Action::ReportPool { pool, .. } => {
                Applied::PoolReported { pool: pool.identity.key, result: Err(unknown()) }
            }
            Action::Announce(_) => Applied::Announced { result: Ok(()) },
        };
        self.world.settle(applied, self.now);
    }

    pub(super) fn carry_out(&mut self, request: Action) -> Applied {
        match request {
            Action::Announce(_) => Applied::Announced { result: Ok(()) },
            Action::Decide { job, decision } => {
                let result = self.decide(&job, &decision);
                Applied::Decided { uid: job.identity.uid, result, notice: None }
            }
            Action::CreateWorker { pool, name } => {
                let mut pod = (**pool.pod.as_ref().unwrap()).clone();
                if let Some(there) = self.pods.get(&name) {
                    let result = Ok(Worker::new(there).unwrap());
                    return Applied::WorkerCreated { pool: pool.identity.key, name, result };
                }
                pod.metadata.resource_version = self.next_version();
                pod.metadata.uid = Some(name.clone());
                pod.metadata.name = Some(name.clone());
                pod.metadata.creation_timestamp = Some(Time(self.now));
                self.events.push_back(Observed::Worker(Event::Apply(DeserializeGuard(Ok(pod.clone())))));
                let result = Ok(Worker::new(&pod).unwrap());
                self.pods.insert(name.clone(), pod);
                Applied::WorkerCreated { pool: pool.identity.key, name, result }
            }
            Action::DeleteWorker { worker } => {
                let uid = worker.identity.uid;
                let version = self.pods.get(&*uid).map(|pod| pod.metadata.resource_version.clone().unwrap());
                let result = match version {
                    None => Err(ApplyError::Gone),
                    Some(version) if version != worker.identity.version.to_string() => {
                        Err(ApplyError::Conflict)
                    }
                    Some(_) => {
                        let pod = self.pods.remove(&*uid).unwrap();
                        self.events.push_back(Observed::Worker(Event::Delete(DeserializeGuard(Ok(pod)))));
                        Ok(())
                    }
                };
                Applied::WorkerDeleted { uid, result }
            }
            Action::ReportPool { pool, status } => {
                self.pool.status = Some(*status);
                self.pool.metadata.resource_version = self.next_version();
                let event = Event::Apply(DeserializeGuard(Ok(self.pool.clone())));
                self.events.push_back(Observed::Pool(event));
                let result = Ok(Pool::new(self.pool.clone(), &self.world.settings).unwrap());
                Applied::PoolReported { pool: pool.identity.key, result }
            }
        }
    }

    pub(super) fn decide(&mut self, job: &Job, decision: &Decision) -> Result<Stored, ApplyError> {
        let Some(mut object) = self.jobs.get(&*job.identity.uid).cloned() else { return Ok(Stored::Gone) };
        if object.metadata.resource_version != Some(job.identity.version.to_string()) {
            return Ok(Stored::There(Job::new(object).unwrap()));
        }
        self.watch_the_time(job, decision);
        match decision {
            Decision::DeadLetter => {
                let label = (trellis_crds::labels::DEAD_LETTER.to_owned(), "true".to_owned());
                object.metadata.labels.get_or_insert_default().extend([label]);
            }
            Decision::Delete => {
                self.jobs.remove(&job.identity.key.name);
                self.events.push_back(Observed::Job(Event::Delete(DeserializeGuard(Ok(object)))));
                return Ok(Stored::Gone);
            }
            Decision::Unlabel => {
                object.metadata.labels.get_or_insert_default().remove(trellis_crds::labels::DEAD_LETTER);
            }
            // The world keeps little of a job that ended.
            _ => object.status = status::after(&Job::new(object.clone()).unwrap(), decision, self.now),
        }
        object.metadata.resource_version = self.next_version();
        self.store_job(object.clone());
        Ok(Stored::There(Job::new(object).unwrap()))
    }
}

impl Sim {
    /// No attempt ends by a deadline that did not pass, whatever clocks show.
    fn watch_the_time(&mut self, job: &Job, decision: &Decision) {
        let name = &job.identity.key.name;
        if let Decision::Assign(_) = decision {
            let attempt = (name.clone(), job.object.next_attempt_number());
            let before = self.assigned.insert(attempt, self.passed);
            assert!(before.is_none(), "the number of an attempt at {name} is used twice");
        }
        let Some(attempt) = decision.ended_attempt() else { return };
        let message = attempt.message.as_deref().unwrap_or_default();
        let deadlines = &job.spec().deadlines;
        let seconds = match message {
            _ if message.contains("runSeconds") => deadlines.run_seconds,
            _ if message.contains("startSeconds") => deadlines.start_seconds,
            _ => return,
        };
        let assigned = self.assigned[&(name.clone(), attempt.number)];
        // What an earlier process or another leader assigned, this one need not have seen from the start.
        let others = assigned <= self.started || self.intruders.contains(name);
        let seen = if others { seconds / 10 } else { seconds };
        let passed = self.passed - assigned.max(self.started);
        assert!(passed >= SignedDuration::from_secs(seen.into()) * 9 / 10, "{message} after {passed}");
    }
}

pub(super) fn respec(
    mut job: GenerationJob,
    change: impl FnOnce(&mut trellis_crds::GenerationJobSpec),
) -> GenerationJob {
    let before = job.spec.clone();
    change(&mut job.spec);
    if job.spec != before {
        job.metadata.generation = job.metadata.generation.map(|generation| generation + 1);
    }
    job
}

pub(super) fn in_state(mut pod: Pod, phase: &str, ready: bool) -> Pod {
    if !is_over(&pod) {
        let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }});
        pod.status = serde_json::from_value(json!({"phase": phase, "conditions": [condition]})).unwrap();
    }
    pod
}

pub(super) fn is_over(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Failed"))
}

fn is_about_a_job(action: &Action) -> bool {
    matches!(action, Action::Decide { .. })
}
