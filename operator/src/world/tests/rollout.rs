//! Pools whose template changes.

use trellis_crds::conditions::{self, READY, RECONCILING, STALLED, reason};

use super::*;

impl Sim {
    /// A full pool of one idle worker.
    fn with_an_idle_worker() -> Self {
        let mut sim = Self::new();
        sim.change_pool(|spec| (spec.replicas.min, spec.replicas.max) = (1, 1));
        sim.quiesce();
        sim.with_pod(0, |pod| Some(in_state(pod, "Running", true)));
        sim.quiesce();
        sim
    }

    fn names(&self) -> Vec<String> {
        self.pods.keys().cloned().collect()
    }

    fn starting(&self) -> usize {
        let ready = |pod: &&k8s_openapi::api::core::v1::Pod| pod.status.is_some();
        self.pods.values().position(|pod| !ready(&pod)).expect("a worker starts")
    }

    fn says(&self, kind: &str) -> (bool, String) {
        let conditions = &self.pool.status.as_ref().unwrap().conditions;
        let reason = conditions::get(conditions, kind).unwrap().reason.clone();
        (conditions::is_true(conditions, kind), reason)
    }
}

#[test]
fn the_old_worker_goes_when_the_new_one_is_ready() {
    let mut sim = Sim::with_an_idle_worker();
    let old = sim.names().remove(0);
    sim.retemplate();
    sim.quiesce();
    assert!(sim.pods.len() == 2 && sim.pods.contains_key(&old), "{:?}", sim.names());
    assert!(sim.says(READY).0 && sim.says(RECONCILING).0, "{:?}", sim.pool.status);
    let new = sim.starting();
    sim.with_pod(new, |pod| Some(in_state(pod, "Running", true)));
    sim.quiesce();
    assert!(sim.pods.len() == 1 && !sim.pods.contains_key(&old), "{:?}", sim.names());
    assert!(!sim.says(RECONCILING).0, "{:?}", sim.pool.status);
}

#[test]
fn a_busy_worker_finishes_its_job_and_then_gets_no_other() {
    let mut sim = Sim::with_an_idle_worker();
    let old = sim.names().remove(0);
    sim.create_job(0);
    sim.quiesce();
    sim.retemplate();
    sim.quiesce();
    let new = sim.starting();
    sim.with_pod(new, |pod| Some(in_state(pod, "Running", true)));
    sim.create_job(0);
    sim.quiesce();
    assert_eq!(sim.jobs.values().filter(|job| job.phase() == Phase::Processing).count(), 2);
    assert_eq!(sim.says(RECONCILING), (true, reason::REPLACING_WORKERS.to_owned()));
    let on_it = |job: &GenerationJob| job.assignment().is_some_and(|at| at.worker == old);
    let first = sim.jobs.values().position(on_it).unwrap();
    sim.report(first, Outcome::Succeeded, None);
    sim.create_job(0);
    sim.quiesce();
    assert!(!sim.pods.contains_key(&old), "{:?}", sim.names());
    assert_eq!(sim.jobs.values().filter(|job| job.phase() == Phase::Completed).count(), 1);
}

#[test]
fn a_template_whose_workers_crash_leaves_the_old_ones_at_work_and_is_named() {
    let mut sim = Sim::with_an_idle_worker();
    let old = sim.names().remove(0);
    sim.retemplate();
    for _ in 0..20 {
        sim.quiesce();
        for pod in 0..sim.pods.len() {
            sim.with_pod(pod, |pod| {
                Some(if pod.status.is_none() { in_state(pod, "Failed", false) } else { pod })
            });
        }
        sim.now = seconds_after(sim.now, 30);
        sim.plan();
    }
    sim.quiesce();
    assert!(sim.pods.contains_key(&old), "{:?}", sim.names());
    assert!(sim.says(READY).0, "{:?}", sim.pool.status);
    assert_eq!(sim.says(STALLED), (true, reason::PODS_NOT_STARTING.to_owned()));
    sim.create_job(0);
    sim.quiesce();
    assert_eq!(sim.jobs.values().next().unwrap().phase(), Phase::Processing);
}

#[test]
fn a_new_template_without_a_node_is_left_to_wait_and_says_what_helps() {
    let mut sim = Sim::with_an_idle_worker();
    sim.retemplate();
    sim.quiesce();
    let new = sim.starting();
    let unplaced = serde_json::json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
    ]});
    sim.with_pod(new, |mut pod| {
        pod.status = serde_json::from_value(unplaced).unwrap();
        Some(pod)
    });
    sim.quiesce();
    let names = sim.names();
    for _ in 0..5 {
        sim.now = seconds_after(sim.now, 60);
        sim.plan();
        sim.quiesce();
    }
    assert_eq!(sim.names(), names);
    let conditions = &sim.pool.status.as_ref().unwrap().conditions;
    let message = &conditions::get(conditions, STALLED).unwrap().message;
    assert!(message.contains("0/1 nodes") && message.contains("spec.replicas.surge"), "{message}");
}

#[test]
fn workers_with_another_model_than_their_pools_get_no_job() {
    let mut sim = Sim::with_an_idle_worker();
    let old = sim.names().remove(0);
    sim.change_pool(|spec| spec.model = "another".into());
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    assert!(!sim.asks_for(assigns), "{:?}", sim.requests);
    sim.quiesce();
    assert!(!sim.pods.contains_key(&old), "{:?}", sim.names());
}
