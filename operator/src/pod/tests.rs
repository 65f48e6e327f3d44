use clap::Parser as _;
use serde_json::{Value, json};
use trellis_crds::WorkerPool;

use super::*;

fn settings() -> Settings {
    Settings::parse_from([
        "operator",
        "--operator-namespace=trellis",
        "--pod-name=operator-1",
        "--output-uri=gs://assets/out",
        "--worker-service-account=trellis-worker",
        "--storage-emulator-host=",
    ])
}

fn pod(spec: Value) -> Value {
    let mut pool = json!({
        "apiVersion": "trellis3d.dev/v1alpha1", "kind": "WorkerPool",
        "metadata": {"name": "image", "namespace": "trellis", "uid": "42"},
        "spec": {
            "model": "trellis-image-large", "modelUri": "gs://models/image",
            "template": {"spec": {"containers": [{"name": "worker", "image": "worker:1"}]}},
        },
    });
    let fields = pool["spec"].as_object_mut().unwrap();
    fields.extend(spec.as_object().unwrap().clone());
    let pool: WorkerPool = serde_json::from_value(pool).unwrap();
    serde_json::to_value(build(&pool, &settings()).unwrap()).unwrap()
}

fn environment<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    pod["spec"]["containers"][0]["env"].as_array()?.iter().find(|variable| variable["name"] == name)
}

#[test]
fn workers_see_the_namespace_alone_that_the_operator_sees() {
    let pool = WorkerPool::new(
        "image",
        serde_json::from_value(json!({
            "model": "m", "modelUri": "gs://b/m", "template": {"spec": {"containers": [{"name": "worker"}]}},
        }))
        .unwrap(),
    );
    for (watched, told) in [(None, None), (Some(""), None), (Some("shop"), Some("shop"))] {
        let settings = Settings { watch_namespace: watched.map(Into::into), ..settings() };
        let pod = serde_json::to_value(build(&pool, &settings).unwrap()).unwrap();
        let variable = environment(&pod, "WATCH_NAMESPACE").map(|variable| &variable["value"]);
        assert_eq!(variable.and_then(Value::as_str), told);
    }
}

#[test]
fn a_bare_template_becomes_a_complete_and_restricted_worker() {
    let pod = pod(json!({"queueName": "gpus"}));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "42");
    assert_eq!(pod["metadata"]["ownerReferences"][0]["controller"], true);
    assert_eq!(pod["metadata"]["labels"]["trellis3d.dev/pool"], "image");
    assert_eq!(pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "gpus");
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(pod["spec"]["serviceAccountName"], "trellis-worker");
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["spec"]["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let worker = &pod["spec"]["containers"][0];
    assert_eq!(worker["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(worker["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(worker["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(worker["startupProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(pod["metadata"]["finalizers"], Value::Null, "its pool's deletion is all it takes");
    assert_eq!(worker["ports"][0]["name"], "http");
    assert_eq!(environment(&pod, "POD_UID").unwrap()["valueFrom"]["fieldRef"]["fieldPath"], "metadata.uid");
    assert_eq!(environment(&pod, "TRELLIS_MODEL_URI").unwrap()["value"], "gs://models/image");
    assert_eq!(environment(&pod, "TRELLIS_OUTPUT_URI").unwrap()["value"], "gs://assets/out");
    assert_eq!(environment(&pod, "STORAGE_EMULATOR_HOST"), None);
    assert_eq!(environment(&pod, "TRELLIS_MAX_JOBS"), None);
    assert_eq!(worker["resources"], Value::Null);
}

#[test]
fn a_worker_is_told_how_many_jobs_it_may_take() {
    let pod = pod(json!({"maxJobsPerWorker": 7}));
    assert_eq!(environment(&pod, "TRELLIS_MAX_JOBS").unwrap()["value"], "7");
}

#[test]
fn an_accelerator_is_requested_and_its_nodes_are_tolerated() {
    let accelerator = json!({"resource": "nvidia.com/gpu", "count": 2, "type": "nvidia-l4", "spot": true});
    let pod = pod(json!({"accelerator": accelerator}));
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"], "2");
    assert_eq!(pod["spec"]["nodeSelector"]["cloud.google.com/gke-accelerator"], "nvidia-l4");
    let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
    for key in ["nvidia.com/gpu", "cloud.google.com/gke-spot"] {
        assert!(tolerations.iter().any(|toleration| toleration["key"] == key), "{tolerations:?}");
    }
}

#[test]
fn what_the_template_says_wins() {
    let pod = pod(json!({"template": {
        "metadata": {"labels": {"team": "a", "trellis3d.dev/pool": "other"}},
        "spec": {
            "serviceAccountName": "own",
            "securityContext": {"runAsUser": 1000},
            "containers": [
                {"name": "sidecar"},
                {
                    "name": "worker",
                    "env": [{"name": "TRELLIS_CACHE_DIR", "value": "/models"}],
                    "volumeMounts": [{"name": "models", "mountPath": "/var/cache/trellis/"}],
                },
            ],
            "volumes": [{"name": "models", "hostPath": {"path": "/models"}}],
        },
    }}));
    assert_eq!(pod["spec"]["serviceAccountName"], "own");
    assert_eq!(pod["spec"]["securityContext"]["runAsUser"], 1000);
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["metadata"]["labels"]["team"], "a");
    assert_eq!(pod["metadata"]["labels"]["trellis3d.dev/pool"], "image", "jobs find workers by it");
    assert_eq!(pod["spec"]["containers"][0], json!({"name": "sidecar"}));
    let worker = &pod["spec"]["containers"][1];
    assert_eq!(worker["env"][0]["value"], "/models");
    let mounts: Vec<_> =
        worker["volumeMounts"].as_array().unwrap().iter().map(|mount| &mount["name"]).collect();
    assert_eq!(mounts, ["models", "trellis-tmp"]);
}

#[test]
fn a_template_without_a_worker_container_says_what_to_do() {
    let mut pool = WorkerPool::new("image", Default::default());
    pool.spec.template.spec = Some(PodSpec::default());
    let error = build(&pool, &settings()).unwrap_err().to_string();
    assert!(error.contains("named worker"), "{error}");
}
