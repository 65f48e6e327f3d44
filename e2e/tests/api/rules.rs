//! The rules of the resource, as this service asks them before anything happens, and as the API server does.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use reqwest::StatusCode;
use serde_json::{Value, json};
use trellis_crds::{GROUP, InputKind, VERSION};

use crate::service::{Service, body, id, photo, problem};

/// A field of a request that is wrong, with its pointer, and the same in the specification of a job.
struct Wrong {
    request: Value,
    pointer: &'static str,
    spec: Value,
}

fn wrong(request: Value, pointer: &'static str, spec: Value) -> Wrong {
    Wrong { request, pointer, spec }
}

/// Every limit of the resource that a request can exceed.
fn wrong_requests() -> Vec<Wrong> {
    let long = |length: usize| "a".repeat(length);
    let stage = |field: &str, value: Value| json!({ field: value });
    vec![
        wrong(json!({"output_formats": []}), "/output_formats", json!({"output": {"formats": []}})),
        wrong(
            json!({"output_formats": ["glb", "glb"]}),
            "/output_formats/1",
            json!({"output": {"formats": ["glb", "glb"]}}),
        ),
        wrong(json!({"seed": -1}), "/seed", json!({"sampling": {"seed": -1}})),
        wrong(json!({"seed": 4_294_967_296_u64}), "/seed", json!({"sampling": {"seed": 4_294_967_296_u64}})),
        wrong(json!({"samples": 0}), "/samples", json!({"sampling": {"samples": 0}})),
        wrong(json!({"samples": 5}), "/samples", json!({"sampling": {"samples": 5}})),
        wrong(
            json!({"sampling": {"sparse_structure": stage("steps", json!(0))}}),
            "/sampling/sparse_structure/steps",
            json!({"sampling": {"sparseStructure": {"steps": 0}}}),
        ),
        wrong(
            json!({"sampling": {"structured_latent": stage("steps", json!(201))}}),
            "/sampling/structured_latent/steps",
            json!({"sampling": {"structuredLatent": {"steps": 201}}}),
        ),
        wrong(
            json!({"sampling": {"structured_latent": stage("cfg_strength", json!(-0.5))}}),
            "/sampling/structured_latent/cfg_strength",
            json!({"sampling": {"structuredLatent": {"cfgStrength": -0.5}}}),
        ),
        wrong(
            json!({"sampling": {"sparse_structure": stage("cfg_strength", json!(20.5))}}),
            "/sampling/sparse_structure/cfg_strength",
            json!({"sampling": {"sparseStructure": {"cfgStrength": 20.5}}}),
        ),
        wrong(
            json!({"mesh": {"simplify": 1}}),
            "/mesh/simplify",
            json!({"output": {"mesh": {"simplify": 1}}}),
        ),
        wrong(
            json!({"mesh": {"simplify": -0.1}}),
            "/mesh/simplify",
            json!({"output": {"mesh": {"simplify": -0.1}}}),
        ),
        wrong(
            json!({"mesh": {"texture_size": 1000}}),
            "/mesh/texture_size",
            json!({"output": {"mesh": {"textureSize": 1000}}}),
        ),
        wrong(json!({"model": ""}), "/model", json!({"model": ""})),
        wrong(json!({"model": long(129)}), "/model", json!({"model": long(129)})),
        wrong(json!({"pool": ""}), "/pool", json!({"pool": ""})),
        wrong(json!({"pool": long(51)}), "/pool", json!({"pool": long(51)})),
        wrong(json!({"priority": 1001}), "/priority", json!({"priority": 1001})),
        wrong(json!({"priority": -1001}), "/priority", json!({"priority": -1001})),
        wrong(json!({"backoff_limit": -1}), "/backoff_limit", json!({"backoffLimit": -1})),
        wrong(json!({"backoff_limit": 21}), "/backoff_limit", json!({"backoffLimit": 21})),
        wrong(
            json!({"deadlines": {"queue_seconds": 0}}),
            "/deadlines/queue_seconds",
            json!({"deadlines": {"queueSeconds": 0}}),
        ),
        wrong(
            json!({"deadlines": {"start_seconds": 29}}),
            "/deadlines/start_seconds",
            json!({"deadlines": {"startSeconds": 29}}),
        ),
        wrong(
            json!({"deadlines": {"run_seconds": 604_801}}),
            "/deadlines/run_seconds",
            json!({"deadlines": {"runSeconds": 604_801}}),
        ),
        wrong(
            json!({"ttl_seconds_after_finished": -1}),
            "/ttl_seconds_after_finished",
            json!({"ttlSecondsAfterFinished": -1}),
        ),
        wrong(
            json!({"ttl_seconds_after_failed": 31_536_001}),
            "/ttl_seconds_after_failed",
            json!({"ttlSecondsAfterFailed": 31_536_001}),
        ),
        wrong(
            json!({"webhook": {"url": "http://example.com"}}),
            "/webhook/url",
            json!({"webhook": {"url": "http://example.com"}}),
        ),
        wrong(
            json!({"webhook": {"url": "https://a", "events": []}}),
            "/webhook/events",
            json!({"webhook": {"url": "https://a", "events": []}}),
        ),
        wrong(
            json!({"webhook": {"url": "https://a", "events": ["start", "start"]}}),
            "/webhook/events/1",
            json!({"webhook": {"url": "https://a", "events": ["start", "start"]}}),
        ),
        wrong(json!({"webhook": {"url": ""}}), "/webhook/url", json!({"webhook": {"url": ""}})),
        wrong(
            json!({"webhook": {"url": format!("https://{}", long(2041))}}),
            "/webhook/url",
            json!({"webhook": {"url": format!("https://{}", long(2041))}}),
        ),
    ]
}

/// What is within every limit, at its edges.
fn valid_requests() -> Vec<Value> {
    vec![
        json!({}),
        json!({"output_formats": ["usdz", "stl", "ply", "obj", "glb"], "preview": false}),
        json!({"quality": "high", "seed": 0, "samples": 4}),
        json!({"seed": 4_294_967_295_u32, "samples": 1}),
        json!({"sampling": {"sparse_structure": {"steps": 1, "cfg_strength": 0}, "structured_latent": {"steps": 200, "cfg_strength": 20}}}),
        json!({"sampling": {}, "mesh": {}, "deadlines": {}}),
        json!({"mesh": {"simplify": 0, "texture_size": 512, "fill_holes": false}}),
        json!({"mesh": {"simplify": 0.99, "texture_size": 4096, "fill_holes": true}}),
        json!({"model": "tiny", "pool": "default"}),
        json!({"priority": 1000, "backoff_limit": 0}),
        json!({"priority": -1000, "backoff_limit": 20}),
        json!({"deadlines": {"queue_seconds": 1, "start_seconds": 30, "run_seconds": 1}}),
        json!({"deadlines": {"queue_seconds": 31_536_000, "start_seconds": 86_400, "run_seconds": 604_800}}),
        json!({"ttl_seconds_after_finished": 0, "ttl_seconds_after_failed": 31_536_000}),
        json!({"webhook": {"url": "https://example.com/hooks?from=trellis"}}),
        json!({"webhook": {"url": "https://a.example", "events": ["start", "progress", "completed", "failed", "cancelled"]}}),
        json!({"multi_image_mode": "multidiffusion", "when_failing": "queue"}),
        json!({"quality": null, "seed": null, "sampling": null, "webhook": null}),
    ]
}

fn merged(mut base: Value, fields: &Value) -> Value {
    base.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    base
}

#[tokio::test]
async fn what_the_api_server_refuses_is_refused_before_it_is_asked() {
    let service = Service::start("rules", &[InputKind::Image]).await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, "GenerationJob"));
    let jobs: Api<DynamicObject> =
        Api::namespaced_with(service.namespace.client().clone(), service.namespace.name(), &kind);
    for Wrong { request, pointer, spec } in wrong_requests() {
        let refused = service.post("/api/v1/generate/image-to-3d").json(&merged(photo(), &request));
        let refused = problem(refused, 422, "invalid_request").await;
        let mut pointers: Vec<_> =
            refused["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
        pointers.dedup();
        assert_eq!(pointers, [pointer], "{request}: {refused}");

        let input = json!({"input": {"image": {"sources": [{"uri": "gs://inputs/cup.png"}]}}});
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "GenerationJob",
            "metadata": {"generateName": "wrong-"}, "spec": merged(input, &spec),
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let created = jobs.create(&PostParams::default(), &object).await;
        assert!(
            matches!(&created, Err(kube::Error::Api(status)) if status.code == 422),
            "{spec}: {created:?}"
        );
    }
    assert_eq!(service.jobs().list(&Default::default()).await.unwrap().items.len(), 0);
    assert!(!service.folder.path().join("inputs").exists(), "something was stored");
    service.stop().await;
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let service = Service::start("all-rules", &[InputKind::Image]).await;
    let all = json!({"seed": -1, "samples": 9, "mesh": {"texture_size": 1}, "webhook": {"url": "ftp://a"}});
    let refused = service.post("/api/v1/generate/image-to-3d").json(&merged(photo(), &all));
    let refused = problem(refused, 422, "invalid_request").await;
    let mut pointers: Vec<_> =
        refused["errors"].as_array().unwrap().iter().filter_map(|error| error["pointer"].as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/mesh/texture_size", "/samples", "/seed", "/webhook/url"]);
    assert!(refused["detail"].as_str().unwrap().contains("seed: must be at least 0"), "{refused}");
    service.stop().await;
}

#[tokio::test]
async fn what_is_within_the_limits_passes_both() {
    let service = Service::start("valid", &[InputKind::Image]).await;
    for request in valid_requests() {
        let sent = json!({"image_base64": photo()["image_base64"]});
        let response =
            service.post("/api/v1/generate/image-to-3d").json(&merged(sent, &request)).send().await.unwrap();
        let made = id(&body(response, StatusCode::ACCEPTED).await);
        service.jobs().get(&made).await.unwrap();
    }
    service.stop().await;
}
