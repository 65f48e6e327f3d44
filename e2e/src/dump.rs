//! What a person needs to see when a cluster test fails.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{DynamicObject, ListParams, LogParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt as _};

const LOG_LINES: i64 = 30;

/// The custom objects, pods with their logs, and events of a namespace, as text. What cannot be read is named with its error.
pub async fn dump(client: &Client, namespace: &str) -> String {
    let mut text = format!("--- what is in the namespace {namespace}\n");
    for kind in ["GenerationJob", "WorkerPool"] {
        custom_objects(client, namespace, kind, &mut text).await;
    }
    pods(client, namespace, &mut text).await;
    events(client, namespace, &mut text).await;
    text
}

async fn custom_objects(client: &Client, namespace: &str, kind: &str, text: &mut String) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("trellis3d.dev", "v1alpha1", kind));
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    match objects.list(&ListParams::default()).await {
        Ok(list) => {
            for mut object in list {
                object.metadata.managed_fields = None;
                let yaml = serde_yaml::to_string(&object).unwrap_or_else(|error| error.to_string());
                let _ = writeln!(text, "--- {kind} {}\n{yaml}", object.name_any());
            }
        }
        Err(error) => {
            let _ = writeln!(text, "--- {kind}s cannot be listed: {error}");
        }
    }
}

async fn pods(client: &Client, namespace: &str, text: &mut String) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = match pods.list(&ListParams::default()).await {
        Ok(list) => list,
        Err(error) => {
            let _ = writeln!(text, "--- pods cannot be listed: {error}");
            return;
        }
    };
    for pod in list {
        let status = pod.status.clone().unwrap_or_default();
        let phase = status.phase.unwrap_or_default();
        let _ = writeln!(text, "--- pod {}: {phase} {}", pod.name_any(), status.message.unwrap_or_default());
        for condition in
            status.conditions.unwrap_or_default().iter().filter(|condition| condition.status != "True")
        {
            let message = condition.message.as_deref().unwrap_or_default();
            let _ = writeln!(text, "not {}: {message}", condition.type_);
        }
        let init = status.init_container_statuses.unwrap_or_default();
        for container in init.iter().chain(&status.container_statuses.unwrap_or_default()) {
            logs(&pods, &pod.name_any(), container, text).await;
        }
    }
}

async fn logs(pods: &Api<Pod>, pod: &str, container: &ContainerStatus, text: &mut String) {
    let state = serde_json::to_string(&container.state).unwrap_or_default();
    let _ = writeln!(text, "container {}: restarts {}, {state}", container.name, container.restart_count);
    let parameters = |previous| LogParams {
        container: Some(container.name.clone()),
        previous,
        tail_lines: Some(LOG_LINES),
        ..LogParams::default()
    };
    if container.restart_count > 0 {
        let before = pods.logs(pod, &parameters(true)).await.unwrap_or_else(|error| error.to_string());
        let _ = writeln!(text, "log before its last restart:\n{before}");
    }
    let log = pods.logs(pod, &parameters(false)).await.unwrap_or_else(|error| error.to_string());
    let _ = writeln!(text, "log:\n{log}");
}

async fn events(client: &Client, namespace: &str, text: &mut String) {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    match events.list(&ListParams::default()).await {
        Ok(list) => {
            for event in list {
                let object = event.involved_object;
                let _ = writeln!(
                    text,
                    "event {} {}: {} {}",
                    object.kind.unwrap_or_default(),
                    object.name.unwrap_or_default(),
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default()
                );
            }
        }
        Err(error) => {
            let _ = writeln!(text, "--- events cannot be listed: {error}");
        }
    }
}
