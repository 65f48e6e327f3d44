//! For measurements only: what deciding costs by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use trellis_crds::{GenerationJob, Phase, WorkerPool};

use crate::action::{Action, Applied, Stored};
use crate::metrics::Metrics;
use crate::observe::Observed;
use crate::plan::Decision;
use crate::pressure::MOST_IN_FLIGHT;
use crate::settings::Settings;
use crate::status;
use crate::validate::{Job, Pool};
use crate::world::{Batch, World};

/// How long one decision takes: a job completes, and its worker is given the next of `queued` jobs, on average of `decisions` in a row,
/// each of which is made up for by a new job. No network is involved.
///
/// # Panics
/// When no job is assigned, which would be a fault of the operator.
#[doc(hidden)]
pub fn decision(queued: usize, decisions: usize) -> Duration {
    let mut bench = Bench::new(queued);
    let mut running = bench.plan().expect("the worker is idle");
    let mut spent = Duration::ZERO;
    for number in 0..decisions {
        let completed = bench.complete(&running);
        let new = bench.job(queued + 1 + number);
        let began = Instant::now();
        bench.world.observe(completed, bench.now);
        running = bench.plan().expect("the worker is idle again");
        spent += began.elapsed();
        bench.world.observe(Observed::Job(Event::Apply(DeserializeGuard(Ok(new)))), bench.now);
        bench.plan();
    }
    spent / u32::try_from(decisions).unwrap_or(u32::MAX).max(1)
}

struct Bench {
    settings: Arc<Settings>,
    world: World,
    now: Timestamp,
    version: u64,
}

impl Bench {
    /// A leader with one worker, which is idle, and one job more than `queued`.
    fn new(queued: usize) -> Self {
        let settings =
            Settings::parse_from(["", "--operator-namespace=a", "--pod-name=p", "--output-uri=gs://b"]);
        let metrics = Metrics::new(&prometheus::Registry::new()).expect("a new registry has no metrics");
        let settings = Arc::new(settings);
        let world = World::new(settings.clone(), metrics);
        let mut bench = Self { settings, world, now: Timestamp::now(), version: 1 };
        let pool: WorkerPool = bench.object(json!({
            "metadata": {"name": "image"},
            "spec": {"model": "m", "modelUri": "gs://b/m", "replicas": {"min": 1, "max": 1},
                "template": {"spec": {"containers": [{"name": "worker"}]}}},
        }));
        let worker = bench.worker(&pool);
        let jobs: Vec<_> = (0..=queued).map(|number| bench.job(number)).collect();
        bench.list(jobs, Observed::Job);
        bench.list(vec![pool], Observed::Pool);
        bench.list(vec![worker], Observed::Worker);
        bench.world.begin_term();
        bench
    }

    /// An object as the API server has it, with what it adds.
    fn object<K: DeserializeOwned>(&mut self, mut object: Value) -> K {
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["namespace"] = "a".into();
        metadata["uid"] = metadata["name"].clone();
        metadata["generation"] = 1.into();
        metadata["resourceVersion"] = self.version.to_string().into();
        metadata["creationTimestamp"] = self.now.to_string().into();
        serde_json::from_value(object).expect("it is written as the schema asks")
    }

    fn job(&mut self, number: usize) -> GenerationJob {
        self.object(json!({
            "metadata": {"name": format!("job-{number:06}")},
            "spec": {"input": {"image": {"sources": [{"uri": "gs://b/i.png"}]}}},
        }))
    }

    fn worker(&mut self, pool: &WorkerPool) -> Pod {
        let pool = Pool::new(pool.clone(), &self.settings).expect("the pool is complete");
        let template = pool.pod.expect("the pool's template is one");
        let mut worker = serde_json::to_value(&*template).expect("a pod is JSON");
        worker["metadata"]["name"] = "image-1".into();
        worker["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        self.object(worker)
    }

    fn list<K>(&mut self, objects: Vec<K>, of: impl Fn(Event<DeserializeGuard<K>>) -> Observed) {
        let listed = objects.into_iter().map(|object| Event::InitApply(DeserializeGuard(Ok(object))));
        for event in [Event::Init].into_iter().chain(listed).chain([Event::InitDone]) {
            self.world.observe(of(event), self.now);
        }
    }

    /// Plans until there is nothing to do, with every write answered at once. Returns the job that was assigned.
    fn plan(&mut self) -> Option<GenerationJob> {
        let mut assigned = None;
        loop {
            let mut batch = Batch::new(0, MOST_IN_FLIGHT);
            self.world.plan(self.now, &mut batch);
            let actions = batch.into_actions();
            if actions.is_empty() {
                return assigned;
            }
            for action in actions {
                let applied = self.carry_out(action, &mut assigned);
                self.world.settle(applied, self.now);
            }
        }
    }

    fn carry_out(&mut self, action: Action, assigned: &mut Option<GenerationJob>) -> Applied {
        match action {
            Action::Decide { job, decision } => {
                let mut object = (*job.object).clone();
                object.status = status::after(&job, &decision, self.now);
                self.version += 1;
                object.metadata.resource_version = Some(self.version.to_string());
                if let Decision::Assign(_) = decision {
                    *assigned = Some(object.clone());
                }
                let result = Ok(Stored::There(Job::new(object).expect("it was one before")));
                Applied::Decided { uid: job.identity.uid, result, notice: None }
            }
            Action::ReportPool { pool, status } => {
                let mut object = (*pool.object).clone();
                object.status = Some(*status);
                self.version += 1;
                object.metadata.resource_version = Some(self.version.to_string());
                let result = Ok(Pool::new(object, &self.settings).expect("it was one before"));
                Applied::PoolReported { pool: pool.identity.key, result }
            }
            Action::Announce(_) => Applied::Announced { result: Ok(()) },
            Action::CreateWorker { .. } | Action::DeleteWorker { .. } => {
                unreachable!("the pool has its one worker")
            }
        }
    }

    /// What the watch shows when the worker has reported on the job.
    fn complete(&mut self, job: &GenerationJob) -> Observed {
        let mut job = job.clone();
        self.version += 1;
        job.metadata.resource_version = Some(self.version.to_string());
        job.status.get_or_insert_default().phase = Some(Phase::Completed);
        Observed::Job(Event::Apply(DeserializeGuard(Ok(job))))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_measured_decision_is_made() {
        assert!(!super::decision(10, 3).is_zero());
    }
}
