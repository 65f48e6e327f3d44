//! A kubelet as the tests that have none need it: pods become ready, and say how their worker ended.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Makes every pod of a namespace ready at once, but for those that are labelled `start: never`. Ends when dropped.
///
/// No node is involved: pods that belong to none are gone as soon as somebody deletes them.
pub struct Kubelet {
    _task: JoinSet<()>,
}

impl Kubelet {
    /// Plays the kubelet for the pods of `api`.
    pub fn play(api: Api<Pod>) -> Self {
        let mut task = JoinSet::new();
        task.spawn(start_pods(api));
        Self { _task: task }
    }
}

/// Writes a pod's status as a kubelet would.
///
/// # Errors
/// When the API server does not take it; the pod may be gone.
pub async fn set_pod_status(pods: &Api<Pod>, name: &str, status: Value) -> kube::Result<Pod> {
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await
}

/// The status of a pod that runs and is ready.
pub fn ready() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
}

/// The status of a pod whose only container ended with `exit_code`.
pub fn ended(exit_code: i32) -> Value {
    let terminated =
        json!({"exitCode": exit_code, "reason": if exit_code == 0 { "Completed" } else { "Error" }});
    let container = json!({"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": terminated}});
    json!({
        "phase": if exit_code == 0 { "Succeeded" } else { "Failed" },
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [container],
    })
}

async fn start_pods(pods: Api<Pod>) {
    let changes = watcher(pods.clone(), watcher::Config::default()).default_backoff().applied_objects();
    let start = async |pod: Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let never = pod.labels().get("start").is_some_and(|start| start == "never");
        if phase == Some("Pending") && !never && pod.metadata.deletion_timestamp.is_none() {
            // It may be deleted by now.
            let _ = set_pod_status(&pods, &pod.name_any(), ready()).await;
        }
    };
    changes.filter_map(async |pod| pod.ok()).for_each_concurrent(16, start).await;
}
