//! How a worker's pod ended: what took it away, or what it did itself.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod, PodCondition};
use trellis_crds::labels::WORKER_CONTAINER;
use trellis_crds::{EXIT_FAULTY, EXIT_NO_MODEL, FailureReason};

use super::worker::{condition, sentence, worker_container};

/// How a worker's container ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Crash {
    pub(crate) reason: FailureReason,
    pub(crate) message: String,
    /// The container's, where it is known.
    pub(crate) exit_code: Option<i32>,
}

impl Crash {
    fn new(reason: FailureReason, message: String) -> Self {
        Self { reason, message, exit_code: None }
    }

    /// Whether the worker had done what it was to do.
    pub(crate) fn is_done(&self) -> bool {
        self.exit_code == Some(0)
    }

    /// Whether the worker ended in order: it had reported on every job that it took, so that none is to blame.
    pub(crate) fn is_in_order(&self) -> bool {
        self.is_done() || self.exit_code == Some(EXIT_FAULTY)
    }

    /// Whether the worker ended because it cannot have its model.
    pub(crate) fn is_for_want_of_the_model(&self) -> bool {
        self.exit_code == Some(EXIT_NO_MODEL)
    }
}

/// What a pod that is ending says about the job on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// Something else took the pod away: that counts against no job.
    Disruption(String),
    /// The pod did it.
    Crash(Crash),
}

/// Conditions of a pod that is about to be taken away: Kubernetes' own, and that which Kueue sets on pods that it preempts, before it
/// deletes them. <https://github.com/kubernetes-sigs/kueue/blob/main/pkg/controller/jobs/pod/pod_controller.go>
const TARGETS: [&str; 2] = ["DisruptionTarget", "TerminationTarget"];

/// Reasons in a pod's status for which its node ended it, or did not take it back after a restart. Evictions are apart: some are the pod's own
/// doing. <https://github.com/kubernetes/kubernetes/tree/master/pkg/kubelet>: `lifecycle/predicate.go`, `nodeshutdown`, `preemption`
const BY_THE_NODE: [&str; 9] = [
    "NodeAffinity",
    "NodeLost",
    "NodeShutdown",
    "Preempting",
    "Shutdown",
    "Terminated",
    "TopologyAffinityError",
    "UnexpectedAdmissionError",
    "UnknownReason",
];
/// With the resource after it: the node has less than it had, such as when its device plugin is not back yet.
const OUT_OF: &str = "OutOf";
/// How the message begins of every pod that a node does not take.
const REJECTED: &str = "Pod was rejected";
/// The reason of a container whose end nobody saw, because the node was restarted.
const END_UNSEEN: &str = "ContainerStatusUnknown";

/// What kubelet says of a pod that it evicts for storage beyond a limit of the pod's own. <https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/eviction/helpers.go>
const OWN_STORAGE: [&str; 3] = [
    "exceeded its local ephemeral storage limit",
    "Pod ephemeral local storage usage exceeds the total limit",
    "Usage of EmptyDir volume",
];

/// How the pod ends, where it does; `over` when its phase says so. A deletion is none of this.
pub(super) fn ending(pod: &Pod, over: bool) -> Option<Ending> {
    let terminated =
        worker_container(pod).and_then(|container| container.state.as_ref()?.terminated.as_ref());
    if let Some(message) = taken_away(pod, over, terminated) {
        return Some(match own_excess(&message) {
            Some(crash) => Ending::Crash(crash),
            None => Ending::Disruption(message),
        });
    }
    (over || terminated.is_some()).then(|| Ending::Crash(crash(pod, terminated)))
}

/// What took the pod away, by the condition for that or by the reason of its status.
/// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>
fn taken_away(pod: &Pod, over: bool, terminated: Option<&ContainerStateTerminated>) -> Option<String> {
    if let Some(disrupted) = target(pod) {
        return Some(sentence(disrupted.reason.as_deref(), disrupted.message.as_deref()));
    }
    if let Some(unseen) = terminated.filter(|ended| ended.reason.as_deref() == Some(END_UNSEEN)) {
        return Some(sentence(unseen.reason.as_deref(), unseen.message.as_deref()));
    }
    let status = pod.status.as_ref().filter(|_| over)?;
    let reason = status.reason.as_deref()?;
    let rejected = status.message.as_deref().is_some_and(|message| message.starts_with(REJECTED));
    let by_the_node =
        reason == "Evicted" || BY_THE_NODE.contains(&reason) || reason.starts_with(OUT_OF) || rejected;
    by_the_node.then(|| sentence(Some(reason), status.message.as_deref()))
}

/// The condition of a pod that is about to be taken away.
pub(super) fn target(pod: &Pod) -> Option<&PodCondition> {
    TARGETS.iter().filter_map(|kind| condition(pod, kind)).find(|condition| condition.status == "True")
}

/// Whether the pod was evicted for what it used itself beyond what it asked for. It would be again, and its job would run for ever.
fn own_excess(message: &str) -> Option<Crash> {
    if OWN_STORAGE.iter().any(|own| message.contains(own)) {
        let message = format!(
            "the pod was evicted for its use of local storage ({message}); raise the limit in the pool's template"
        );
        return Some(Crash::new(FailureReason::WorkerCrashed, message));
    }
    let over_request = format!("Container {WORKER_CONTAINER} was using");
    if message.contains(&over_request) && message.contains("has larger consumption of memory") {
        let message = format!(
            "the pod was evicted for its use of memory ({message}); raise the request in the pool's template"
        );
        return Some(Crash::new(FailureReason::OutOfMemory, message));
    }
    None
}

fn crash(pod: &Pod, terminated: Option<&ContainerStateTerminated>) -> Crash {
    let Some(terminated) = terminated else {
        let status = pod.status.as_ref();
        let reason = status.and_then(|status| status.reason.as_deref());
        let message = status.and_then(|status| status.message.as_deref());
        return Crash::new(FailureReason::WorkerCrashed, sentence(reason, message));
    };
    let message = sentence(terminated.reason.as_deref(), terminated.message.as_deref());
    if terminated.reason.as_deref() == Some("OOMKilled") {
        let message =
            "the container's memory ran out (OOMKilled); raise its limit in the pool's template".into();
        return Crash::new(FailureReason::OutOfMemory, message);
    }
    let code = terminated.exit_code;
    let message = match terminated.message.as_deref().map(str::trim).filter(|own| !own.is_empty()) {
        Some(own) if code == EXIT_NO_MODEL => format!("the model cannot be loaded: {own}"),
        _ => format!("the container ended with exit code {code} ({message})"),
    };
    Crash { exit_code: Some(code), ..Crash::new(FailureReason::WorkerCrashed, message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ending(status: Value) -> Ending {
        let over = status["phase"] == "Failed";
        let pod = serde_json::from_value(json!({ "status": status })).unwrap();
        super::ending(&pod, over).unwrap()
    }

    fn container(code: i32, reason: &str) -> Value {
        json!([{
            "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "reason": reason}},
        }])
    }

    fn crashed(status: Value) -> Crash {
        match ending(status) {
            Ending::Crash(crash) => crash,
            Ending::Disruption(message) => panic!("not the pod's doing: {message}"),
        }
    }

    #[test]
    fn a_container_out_of_memory_is_told_from_one_that_crashed() {
        let ended = |reason: &str, code: i32| {
            crashed(json!({"phase": "Failed", "containerStatuses": container(code, reason)}))
        };
        assert_eq!(ended("OOMKilled", 137).reason, FailureReason::OutOfMemory);
        let crash = ended("Error", 101);
        assert_eq!(crash.reason, FailureReason::WorkerCrashed);
        assert!(crash.message.contains("101"), "{}", crash.message);
        assert!(!crash.is_in_order());
        for code in [0, EXIT_FAULTY] {
            assert!(ended("Error", code).is_in_order(), "{code}");
        }
    }

    #[test]
    fn a_worker_says_itself_why_it_cannot_have_its_model() {
        let mut containers = container(EXIT_NO_MODEL, "Error");
        containers[0]["state"]["terminated"]["message"] = json!("gs://b/m/pipeline.json is not there\n");
        let crash = crashed(json!({"phase": "Failed", "containerStatuses": containers}));
        assert!(crash.is_for_want_of_the_model() && !crash.is_in_order());
        assert_eq!(crash.message, "the model cannot be loaded: gs://b/m/pipeline.json is not there");
    }

    /// Statuses as kubelet 1.36 writes them.
    #[test]
    fn what_nodes_do_to_a_pod_counts_against_no_job() {
        let low = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 20Mi. ";
        let others =
            format!("{low}Container sidecar was using 2Gi, request is 0, has larger consumption of memory. ");
        let disk = "The node was low on resource: ephemeral-storage. Container worker was using 9Gi, request is 0, has larger consumption of ephemeral-storage. ";
        let rejected = "Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu, which is unexpected";
        for (reason, message) in [
            ("Evicted", low),
            ("Evicted", &others),
            ("Evicted", disk),
            ("UnexpectedAdmissionError", rejected),
            ("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed"),
            (
                "OutOfnvidia.com/gpu",
                "Node didn't have enough resource: nvidia.com/gpu, requested: 1, used: 0, capacity: 0",
            ),
            ("OutOfcpu", "Node didn't have enough resource: cpu"),
            ("SomethingNew", "Pod was rejected: for a reason of a later release"),
            ("NodeShutdown", "Pod was rejected as the node is shutting down."),
            ("Terminated", "Pod was terminated in response to imminent node shutdown."),
            ("Preempting", "Preempted in order to admit critical pod"),
            ("NodeLost", "Node a which was running pod b is unresponsive"),
        ] {
            let status = json!({"phase": "Failed", "reason": reason, "message": message});
            assert_eq!(ending(status), Ending::Disruption(format!("{reason}: {}", message.trim())));
        }
        let restarted =
            json!({"phase": "Failed", "containerStatuses": container(137, "ContainerStatusUnknown")});
        assert!(matches!(ending(restarted), Ending::Disruption(_)));
        for (kind, reason) in
            [("DisruptionTarget", "PreemptionByScheduler"), ("TerminationTarget", "WorkloadEvicted")]
        {
            let preempted = json!({"phase": "Running", "conditions": [
                {"type": kind, "status": "True", "reason": reason}, {"type": "Ready", "status": "True"},
            ]});
            assert!(matches!(ending(preempted), Ending::Disruption(_)), "{kind}");
        }
    }

    #[test]
    fn an_eviction_for_what_the_pod_used_itself_counts() {
        for message in [
            "Container worker exceeded its local ephemeral storage limit \"10Gi\". ",
            "Pod ephemeral local storage usage exceeds the total limit of containers 10Gi. ",
            "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Gi\". ",
        ] {
            let crash = crashed(json!({"phase": "Failed", "reason": "Evicted", "message": message}));
            assert_eq!(crash.reason, FailureReason::WorkerCrashed);
            assert!(crash.message.contains(message.trim()), "{}", crash.message);
        }
        let message = "The node was low on resource: memory. Container worker was using 30Gi, request is 16Gi, has larger consumption of memory. ";
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message});
        let evicted =
            json!({"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [condition]});
        assert_eq!(crashed(evicted).reason, FailureReason::OutOfMemory);
    }

    #[test]
    fn a_pod_that_ran_for_longer_than_its_template_allows_did_so_itself() {
        let late = json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"});
        assert!(!crashed(late).is_in_order());
    }
}
