//! A worker pod, reduced to what matters for scheduling.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use trellis_crds::labels::WORKER_CONTAINER;

use super::ending::{Crash, Ending, ending, target};
use super::{Identity, Invalid, MODEL, POOL_HASH};
use crate::key::{Key, Uid};
use crate::time::after;

/// A worker pod.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) identity: Identity,
    /// The pool that controls it.
    pub(crate) pool: Key,
    /// That pool's uid: one that was deleted and made anew is another, and the garbage collector takes the pods of the first.
    pub(crate) pool_uid: Uid,
    /// The hash of what it was built from.
    pub(crate) hash: Option<String>,
    /// The name of its model, where its pod says it.
    pub(crate) model: Option<String>,
    pub(crate) life: Life,
    /// How long it may take to hand back its job from when it is told to end, where it is told to and can: it runs, and was ready until then. One
    /// that was not is on a node that no longer answers, or does not see its jobs.
    pub(crate) farewell: Option<SignedDuration>,
}

/// Where a worker is in its life.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Life {
    /// A scheduling gate holds the pod back: a quota system has not admitted it yet.
    Gated,
    /// The pod is there, the worker not ready yet, or not any more.
    Starting { placed: bool, trouble: Option<Trouble> },
    /// It can take jobs.
    Ready,
    /// The pod has a deletion timestamp. It should be gone by `due`; it stays where its node does not answer any more.
    Terminating { due: Timestamp },
    /// The pod is evicted, preempted or shut down with its node; `over` when its containers have ended.
    Disrupted { message: String, over: bool },
    /// The worker's container ended by itself.
    Ended(Crash),
}

impl Life {
    /// Whether the worker's container has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Life::Ended(_) | Life::Disrupted { over: true, .. })
    }
}

/// Why a worker cannot start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    /// Kubernetes' own reason, such as `Unschedulable` or `ImagePullBackOff`.
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Worker {
    pub(crate) fn new(pod: &Pod) -> Result<Self, Invalid> {
        let identity = Identity::of(&pod.metadata)?;
        let owners = pod.metadata.owner_references.iter().flatten();
        let owner = owners
            .filter(|owner| owner.controller == Some(true) && owner.kind == "WorkerPool")
            .find(|owner| owner.api_version.starts_with(trellis_crds::GROUP))
            .ok_or(Invalid::NoPool)?;
        let pool = Key::new(&identity.key.namespace, &owner.name);
        let pool_uid = owner.uid.as_str().into();
        let annotation = |name| pod.metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
        let (hash, model) = (annotation(POOL_HASH), annotation(MODEL));
        Ok(Self { identity, pool, pool_uid, hash, model, life: life(pod), farewell: farewell(pod) })
    }
}

/// How long after its grace period, which the deletion timestamp includes, a pod may take to go.
const OVERDUE: SignedDuration = SignedDuration::from_secs(30);

/// Kubernetes' grace period of a pod that asks for none.
const GRACE_SECONDS: i64 = 30;

fn farewell(pod: &Pod) -> Option<SignedDuration> {
    let (told, grace) = told_to_end(pod)?;
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let container = worker_container(pod).and_then(|container| container.state.as_ref());
    let runs = phase == Some("Running") && container.is_none_or(|state| state.terminated.is_none());
    let ready = condition(pod, "Ready").filter(|_| runs)?;
    let lost_it = ready.last_transition_time.as_ref().map(|time| time.0);
    (ready.status == "True" || lost_it.is_some_and(|time| time >= told)).then_some(grace)
}

/// When the pod was told to end, and how long it then has. Who takes it away may say so in a condition before the deletion.
fn told_to_end(pod: &Pod) -> Option<(Timestamp, SignedDuration)> {
    let meta = &pod.metadata;
    if let Some(end) = &meta.deletion_timestamp {
        let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0).max(0));
        return Some((after(end.0, -grace), grace));
    }
    let told = target(pod)?.last_transition_time.as_ref()?.0;
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    Some((told, SignedDuration::from_secs(seconds.unwrap_or(GRACE_SECONDS).max(0))))
}

fn life(pod: &Pod) -> Life {
    if let Some(time) = &pod.metadata.deletion_timestamp {
        return Life::Terminating { due: after(time.0, OVERDUE) };
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let over = matches!(phase, Some("Failed" | "Succeeded"));
    match ending(pod, over) {
        Some(Ending::Disruption(message)) => return Life::Disrupted { message, over },
        Some(Ending::Crash(crash)) => return Life::Ended(crash),
        None => {}
    }
    if condition(pod, "Ready").is_some_and(|ready| ready.status == "True") {
        return Life::Ready;
    }
    let scheduled = condition(pod, "PodScheduled");
    if scheduled.is_some_and(|scheduled| scheduled.reason.as_deref() == Some(GATED)) {
        return Life::Gated;
    }
    let placed = scheduled.is_some_and(|scheduled| scheduled.status == "True");
    Life::Starting { placed, trouble: trouble(pod) }
}

/// The reason of a pod that scheduling gates hold back.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/>
const GATED: &str = "SchedulingGated";

/// Why the pod does not get ready: it has no node, or one of its containers waits for something that may never come.
fn trouble(pod: &Pod) -> Option<Trouble> {
    if let Some(unplaced) = condition(pod, "PodScheduled").filter(|condition| condition.status == "False") {
        let reason = unplaced.reason.clone().unwrap_or_default();
        let message = unplaced.message.clone().unwrap_or_default();
        return Some(Trouble { reason, message });
    }
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
        let reason = waiting.reason.clone().filter(|reason| STUCK.contains(&reason.as_str()))?;
        Some(Trouble { reason, message: waiting.message.clone().unwrap_or_default() })
    })
}

/// Reasons of a waiting container that somebody has to do something about.
const STUCK: [&str; 8] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

pub(super) fn worker_container(pod: &Pod) -> Option<&ContainerStatus> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find(|container| container.name == WORKER_CONTAINER)
}

pub(super) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

pub(super) fn sentence(reason: Option<&str>, message: Option<&str>) -> String {
    match (reason, message.map(str::trim).filter(|message| !message.is_empty())) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => "no reason given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn worker(status: Value) -> Worker {
        let pod = json!({
            "metadata": {
                "name": "image-abc", "namespace": "trellis", "uid": "1", "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{
                    "apiVersion": "trellis3d.dev/v1alpha1", "kind": "WorkerPool", "name": "image", "uid": "2",
                    "controller": true,
                }],
            },
            "status": status,
        });
        Worker::new(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    #[test]
    fn a_pod_that_cannot_start_says_why() {
        let unplaced = worker(json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"},
        ]}));
        let Life::Starting { placed: false, trouble: Some(trouble) } = unplaced.life else {
            panic!("{unplaced:?}")
        };
        assert_eq!((trouble.reason.as_str(), trouble.message.as_str()), ("Unschedulable", "0/3 nodes"));
        let placed = json!({"type": "PodScheduled", "status": "True"});
        let creating =
            worker(json!({"phase": "Pending", "conditions": [placed.clone()], "containerStatuses": [{
                "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ContainerCreating"}},
            }]}));
        assert_eq!(creating.life, Life::Starting { placed: true, trouble: None });
        let no_image = worker(json!({"phase": "Pending", "conditions": [placed], "containerStatuses": [{
            "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
        }]}));
        let trouble = Trouble { reason: "ImagePullBackOff".into(), message: "not found".into() };
        assert_eq!(no_image.life, Life::Starting { placed: true, trouble: Some(trouble) });
    }

    /// How long a worker has that was told to end at 00:01:00, and has 25 s.
    fn farewell_of(status: Value, deleted: bool) -> Option<i64> {
        let mut pod = json!({"metadata": {"name": "image-abc"}, "spec": {"terminationGracePeriodSeconds": 25, "containers": []}});
        pod["status"] = status;
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:25Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(25);
        }
        farewell(&serde_json::from_value(pod).unwrap()).map(|grace| grace.as_secs())
    }

    #[test]
    fn a_worker_that_is_told_to_end_may_hand_back_its_job_while_it_runs() {
        let condition = |kind: &str, status: &str, since: &str| json!({"type": kind, "status": status, "lastTransitionTime": since});
        let ready = condition("Ready", "True", "2026-01-01T00:00:00Z");
        let target = condition("DisruptionTarget", "True", "2026-01-01T00:01:00Z");
        let stopping = condition("Ready", "False", "2026-01-01T00:01:01Z");
        let on_a_lost_node = condition("Ready", "False", "2026-01-01T00:00:59Z");
        let with = |conditions: &[&Value]| json!({"phase": "Running", "conditions": conditions});
        assert_eq!(farewell_of(with(&[&ready]), false), None);
        assert_eq!(farewell_of(with(&[&ready]), true), Some(25));
        assert_eq!(farewell_of(with(&[&ready, &target]), false), Some(25));
        assert_eq!(farewell_of(with(&[&stopping]), true), Some(25));
        assert_eq!(farewell_of(with(&[&on_a_lost_node]), true), None);
        let mut over = with(&[&stopping]);
        over["containerStatuses"] = json!([{
            "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0}},
        }]);
        assert_eq!(farewell_of(over, true), None);
        assert_eq!(farewell_of(json!({"phase": "Failed", "conditions": [stopping]}), true), None);
    }

    #[test]
    fn a_pod_that_a_quota_system_holds_back_is_in_no_trouble() {
        let gated = worker(json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"},
        ]}));
        assert_eq!(gated.life, Life::Gated);
    }
}
