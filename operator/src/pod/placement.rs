//! On which nodes workers run.

use k8s_openapi::api::core::v1::{PodSpec, Toleration};
use trellis_crds::Accelerator;

/// <https://docs.cloud.google.com/kubernetes-engine/docs/how-to/gpus>
const GKE_ACCELERATOR: &str = "cloud.google.com/gke-accelerator";
/// <https://docs.cloud.google.com/kubernetes-engine/docs/concepts/spot-vms>
const GKE_SPOT: &str = "cloud.google.com/gke-spot";

/// How long a worker stays on a node that stopped answering, in seconds. Kubernetes' default is 300; a job that starts anew
/// elsewhere loses less.
const LOST_NODE_SECONDS: i64 = 30;

pub(super) fn complete(spec: &mut PodSpec, accelerator: Option<&Accelerator>) {
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        tolerate(spec, taint, "NoExecute", Some(LOST_NODE_SECONDS));
    }
    let Some(accelerator) = accelerator.filter(|accelerator| accelerator.count > 0) else { return };
    // Nodes with accelerators are commonly tainted by the resource's name, to keep other pods away.
    tolerate(spec, &accelerator.resource, "NoSchedule", None);
    if let Some(kind) = &accelerator.type_ {
        select(spec, GKE_ACCELERATOR, kind);
    }
    if accelerator.spot {
        select(spec, GKE_SPOT, "true");
        tolerate(spec, GKE_SPOT, "NoSchedule", None);
    }
}

fn tolerate(spec: &mut PodSpec, key: &str, effect: &str, seconds: Option<i64>) {
    let tolerations = spec.tolerations.get_or_insert_default();
    if tolerations.iter().all(|known| known.key.as_deref() != Some(key)) {
        tolerations.push(Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            toleration_seconds: seconds,
            ..Toleration::default()
        });
    }
}

fn select(spec: &mut PodSpec, label: &str, value: &str) {
    let selector = spec.node_selector.get_or_insert_default();
    selector.entry(label.to_owned()).or_insert_with(|| value.to_owned());
}
