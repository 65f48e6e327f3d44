//! Workers that do not get ready.

use serde_json::{Value, json};
use trellis_crds::conditions::{self, READY, RECONCILING, SCHEDULED, STALLED, reason};

use super::*;

impl Sim {
    /// A job that waits for a worker whose pod is there.
    fn with_a_worker_that_starts() -> Self {
        let mut sim = Self::new();
        sim.create_job(0);
        sim.quiesce();
        assert_eq!(sim.pods.len(), 1);
        sim
    }

    fn set_pod_status(&mut self, status: Value) {
        self.with_pod(0, |mut pod| {
            pod.status = serde_json::from_value(status).unwrap();
            Some(pod)
        });
        self.quiesce();
    }

    fn pass(&mut self, seconds: i32) {
        self.now = seconds_after(self.now, seconds);
        self.plan();
        self.quiesce();
    }

    fn pool_condition(&self, kind: &str) -> (String, String, String) {
        let conditions = &self.pool.status.as_ref().unwrap().conditions;
        let found = conditions::get(conditions, kind).unwrap();
        (found.status.clone(), found.reason.clone(), found.message.clone())
    }

    /// Why the only job waits.
    fn why(&self) -> (String, String) {
        let status = self.jobs.values().next().unwrap().status.as_ref().unwrap();
        let found = conditions::get(&status.conditions, SCHEDULED).unwrap();
        (found.reason.clone(), found.message.clone())
    }
}

fn scheduled(status: &str, reason: &str) -> Value {
    json!({"type": "PodScheduled", "status": status, "reason": reason, "message": "0/3 nodes have nvidia.com/gpu"})
}

#[test]
fn a_worker_that_does_not_get_ready_in_time_is_replaced_and_named() {
    let mut sim = Sim::with_a_worker_that_starts();
    let first = sim.pods.keys().next().unwrap().clone();
    sim.set_pod_status(json!({"phase": "Running", "conditions": [scheduled("True", "")]}));
    sim.pass(1799);
    assert!(sim.pods.contains_key(&first), "it has a second left");
    sim.pass(1);
    assert!(!sim.pods.contains_key(&first), "{:?}", sim.pods.keys());
    assert!(sim.pods.is_empty(), "without a delay");
    for _ in 0..3 {
        sim.pass(5);
    }
    assert_eq!(sim.pods.len(), 1);
    let (holds, why, message) = sim.pool_condition(STALLED);
    assert_eq!((holds.as_str(), why.as_str()), ("True", reason::PODS_NOT_STARTING));
    assert!(message.contains(&first) && message.contains("startSeconds"), "{message}");
    let (why, message) = sim.why();
    assert_eq!(why, reason::PODS_NOT_STARTING);
    assert!(message.contains(&first), "{message}");
}

#[test]
fn a_worker_that_waited_long_for_its_node_has_all_its_time_to_load_the_model() {
    let mut sim = Sim::with_a_worker_that_starts();
    let first = sim.pods.keys().next().unwrap().clone();
    sim.set_pod_status(json!({"phase": "Pending", "conditions": [scheduled("False", "Unschedulable")]}));
    sim.pass(1790);
    sim.set_pod_status(json!({"phase": "Pending", "conditions": [scheduled("True", "")]}));
    sim.pass(1790);
    assert!(sim.pods.contains_key(&first));
    sim.set_pod_status(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}));
    sim.pass(100);
    assert_eq!(sim.jobs.values().next().unwrap().phase(), Phase::Processing);
}

#[test]
fn a_pod_without_a_node_is_replaced_too_and_its_reason_is_told_meanwhile() {
    let mut sim = Sim::with_a_worker_that_starts();
    let first = sim.pods.keys().next().unwrap().clone();
    sim.set_pod_status(json!({"phase": "Pending", "conditions": [scheduled("False", "Unschedulable")]}));
    sim.pass(10);
    let (why, message) = sim.why();
    assert!(why == reason::PODS_NOT_STARTING && message.contains("0/3 nodes"), "{why}: {message}");
    // An autoscaler may be bringing the node.
    assert_eq!([STALLED, RECONCILING].map(|kind| sim.pool_condition(kind).0), ["False", "True"]);
    sim.pass(1800);
    assert!(!sim.pods.contains_key(&first), "{:?}", sim.pods.keys());
    let (holds, _, message) = sim.pool_condition(STALLED);
    assert!(holds == "True" && message.contains("0/3 nodes"), "{holds}: {message}");
}

#[test]
fn a_model_that_cannot_be_loaded_is_named_to_pool_and_jobs() {
    let mut sim = Sim::with_a_worker_that_starts();
    let missing = "gs://b/m/pipeline.json is not there";
    sim.set_pod_status(json!({"phase": "Failed", "containerStatuses": [{
        "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": trellis_crds::EXIT_NO_MODEL, "reason": "Error", "message": missing}},
    }]}));
    sim.pass(10);
    let (holds, why, message) = sim.pool_condition(STALLED);
    assert_eq!((holds.as_str(), why.as_str()), ("True", reason::MODEL_NOT_LOADED));
    assert!(message.contains(missing), "{message}");
    let (why, message) = sim.why();
    assert!(why == reason::MODEL_NOT_LOADED && message.contains(missing), "{why}: {message}");
    assert_eq!(sim.jobs.values().next().unwrap().status.as_ref().unwrap().failures, 0);
}

#[test]
fn workers_that_wait_for_quota_stall_nothing_and_are_given_all_the_time_they_need() {
    let mut sim = Sim::with_a_worker_that_starts();
    let first = sim.pods.keys().next().unwrap().clone();
    sim.set_pod_status(json!({"phase": "Pending", "conditions": [scheduled("False", "SchedulingGated")]}));
    sim.pass(100_000);
    assert!(sim.pods.contains_key(&first), "it was replaced");
    assert_eq!(sim.pool_condition(STALLED).0, "False");
    assert_eq!(sim.pool_condition(READY).1, reason::WAITING_FOR_QUOTA);
    assert_eq!(sim.why().0, reason::WAITING_FOR_QUOTA);
    sim.with_job(0, |_| None);
    sim.quiesce();
    assert!(sim.pods.is_empty(), "a pod that nothing waits for holds quota");
}

#[test]
fn a_worker_that_was_ready_and_stays_unready_is_replaced() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.report(0, Outcome::Succeeded, None);
    sim.quiesce();
    let first = sim.pods.keys().next().unwrap().clone();
    let unready = json!({"phase": "Running", "conditions": [scheduled("True", ""), {"type": "Ready", "status": "False"}]});
    sim.set_pod_status(unready);
    sim.create_job(0);
    sim.pass(0);
    sim.pass(1800);
    assert!(!sim.pods.contains_key(&first) && sim.pods.len() == 1, "{:?}", sim.pods.keys());
}
