//! Making jobs: what is taken, what is refused, and with which words.

use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use reqwest::StatusCode;
use reqwest::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use trellis_crds::{InputKind, WorkerPool};

use crate::service::{PHOTO, Service, base64, body, completed, id, keep_record, photo, problem, write_keys};

#[tokio::test]
async fn a_form_is_taken_like_json() {
    let service = Service::start("form", &[InputKind::Image]).await;
    let form = Form::new()
        .part("image", Part::bytes(PHOTO).file_name("photo.png"))
        .text("output_formats", "glb,usdz")
        .text("sampling", r#"{"sparse_structure": {"steps": 3}}"#)
        .text("seed", "7");
    let response = service.post("/api/v1/generate/image-to-3d").multipart(form).send().await.unwrap();
    let job = service.jobs().get(&id(&body(response, StatusCode::ACCEPTED).await)).await.unwrap();
    assert_eq!(job.spec.output.formats, [trellis_crds::Format::Glb, trellis_crds::Format::Usdz]);
    assert_eq!(job.spec.sampling.seed, Some(7));
    assert_eq!(job.spec.sampling.sparse_structure.unwrap().steps, Some(3));
    service.stop().await;
}

#[tokio::test]
async fn several_images_of_an_object_make_one_job() {
    let service = Service::start("views", &[InputKind::Image]).await;
    let other = other_photo();
    let form = Form::new()
        .part("image", Part::bytes(PHOTO).file_name("front.png"))
        .part("image", Part::bytes(other.clone()).file_name("back.png"))
        .text("multi_image_mode", "multidiffusion");
    let json =
        json!({"images_base64": [base64(PHOTO), base64(&other)], "multi_image_mode": "multidiffusion"});
    let post = || service.post("/api/v1/generate/image-to-3d");
    for request in [post().multipart(form), post().json(&json)] {
        let accepted = body(request.send().await.unwrap(), StatusCode::ACCEPTED).await;
        let image = service.jobs().get(&id(&accepted)).await.unwrap().spec.input.image.unwrap();
        assert_eq!(image.multi_image_mode, trellis_crds::MultiImageMode::Multidiffusion);
        let stored: Vec<_> =
            image.sources.iter().map(|source| stored(source.uri.as_deref().unwrap())).collect();
        assert_eq!(stored, [PHOTO, &other]);
    }
    // One of them is none: that one is named, and none is stored.
    let broken = json!({"images_base64": [base64(PHOTO), base64(b"GIF89a")]});
    let refused = problem(post().json(&broken), 422, "invalid_image").await;
    assert_eq!(refused["errors"][0]["pointer"], "/images_base64/1");
    let urls = json!({"image_urls": ["https://localhost/a.png", "https://example.com/b.png"]});
    let refused = problem(post().json(&urls), 422, "image_unreachable").await;
    assert_eq!(refused["errors"][0]["pointer"], "/image_urls/0");
    problem(post().json(&json!({"image_urls": []})), 422, "invalid_request").await;
    service.stop().await;
}

#[tokio::test]
async fn a_variant_is_made_of_a_mesh_and_words() {
    let service = Service::start("variant", &[InputKind::Variant]).await;
    let post = || service.post("/api/v1/generate/variant");
    let mesh = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n";
    let form = Form::new()
        .part("mesh", Part::bytes(&mesh[..]).file_name("cup.obj"))
        .text("mesh", r#"{"texture_size": 512}"#)
        .text("prompt", "rusty iron");
    let json = json!({"prompt": "rusty iron", "mesh_base64": base64(mesh), "mesh": {"texture_size": 512}});
    for request in [post().multipart(form), post().json(&json)] {
        let accepted = body(request.send().await.unwrap(), StatusCode::ACCEPTED).await;
        let spec = service.jobs().get(&id(&accepted)).await.unwrap().spec;
        let variant = spec.input.variant.unwrap();
        let uri = variant.mesh.uri.unwrap();
        assert_eq!((variant.prompt.as_str(), stored(&uri)), ("rusty iron", mesh.to_vec()));
        assert!(uri.ends_with(".obj"), "the worker goes by the name: {uri}");
        assert_eq!(spec.output.mesh.texture_size, Some(512));
    }
    let with = |mesh: &[u8]| json!({"prompt": "rusty iron", "mesh_base64": base64(mesh)});
    let refused = problem(post().json(&with(PHOTO)), 422, "invalid_mesh").await;
    assert_eq!(refused["errors"][0]["pointer"], "/mesh_base64");
    problem(post().json(&with(b"")), 422, "invalid_mesh").await;
    problem(post().json(&with(&vec![0; (1 << 20) + 1])), 413, "body_too_large").await;
    let inside = json!({"prompt": "rusty iron", "mesh_url": "https://169.254.169.254/cup.glb"});
    let refused = problem(post().json(&inside), 422, "mesh_unreachable").await;
    assert_eq!(refused["errors"][0]["pointer"], "/mesh_url");
    let empty = json!({"prompt": "", "mesh_base64": base64(mesh)});
    let refused = problem(post().json(&empty), 422, "invalid_request").await;
    assert_eq!(refused["errors"][0]["pointer"], "/prompt");
    // Pools for images do not take it.
    problem(service.post("/api/v1/generate/image-to-3d").json(&photo()), 503, "no_pool").await;
    service.stop().await;
}

/// The commands of the section about requests, as they stand there.
#[tokio::test]
async fn the_commands_of_the_manual_work() {
    let service = Service::start("manual", &[InputKind::Image, InputKind::Text, InputKind::Variant]).await;
    let folder = service.folder.path();
    for name in ["front.png", "back.png"] {
        std::fs::write(folder.join(name), PHOTO).unwrap();
    }
    let glb = [&b"glTF"[..], &2_u32.to_le_bytes(), &12_u32.to_le_bytes()].concat();
    std::fs::write(folder.join("cup.glb"), glb).unwrap();
    let manual = include_str!("../../../docs/api.md");
    let (_, section) = manual.split_once("## The request").unwrap();
    let (_, commands) = section.split_once("```sh\n").unwrap();
    let (commands, _) = commands.split_once("```").unwrap();
    let run = tokio::process::Command::new("bash")
        .args(["-euc", commands])
        .env("API", &service.url)
        .env("KEY", &service.alice)
        .current_dir(folder)
        .output();
    let output = run.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let answers: Vec<Value> =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    for answer in &answers {
        assert_eq!(answer["status"], "pending", "{answer}");
    }
    let sources = service.jobs().get(&id(&answers[0])).await.unwrap().spec.input.image.unwrap().sources;
    assert_eq!(sources.len(), 2);
    service.stop().await;
}

#[tokio::test]
async fn while_the_workers_fail_requests_are_refused_unless_they_may_wait() {
    let service = Service::start("failing", &[InputKind::Image]).await;
    let pools: Api<WorkerPool> = service.namespace.api();
    let condition = json!({
        "type": "Ready", "status": "False", "reason": "CircuitOpen", "message": "failing",
        "lastTransitionTime": "2026-11-24T07:00:00Z",
    });
    let open = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    pools.patch_status("default", &PatchParams::default(), &open).await.unwrap();
    service
        .wait_for("/api/v1/health", async |response| {
            response.json::<Value>().await.unwrap()["image_to_3d"] == false
        })
        .await;
    let request = |when_failing: &str| {
        let mut body = photo();
        body["when_failing"] = json!(when_failing);
        service.post("/api/v1/generate/image-to-3d").json(&body)
    };
    let refused = request("refuse").send().await.unwrap();
    assert!(refused.headers().contains_key(RETRY_AFTER));
    problem(request("refuse"), 503, "pool_failing").await;
    problem(service.post("/api/v1/generate/image-to-3d").json(&photo()), 503, "pool_failing").await;
    body(request("queue").send().await.unwrap(), StatusCode::ACCEPTED).await;
    service.stop().await;
}

/// The file that the service stored at `uri`.
fn stored(uri: &str) -> Vec<u8> {
    std::fs::read(uri.strip_prefix("file://").unwrap()).unwrap()
}

/// An image that is not the photo.
fn other_photo() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(32, 32).write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

#[tokio::test]
async fn what_is_no_image_makes_no_job() {
    let service = Service::start("images", &[InputKind::Image]).await;
    let post = |body: Value| service.post("/api/v1/generate/image-to-3d").json(&body);
    problem(post(json!({"image_base64": base64(&PHOTO[..PHOTO.len() / 2])})), 422, "invalid_image").await;
    problem(post(json!({"image_base64": base64(b"%PDF-1.7")})), 422, "invalid_image").await;
    problem(post(json!({"image_base64": "not base64!"})), 422, "invalid_image").await;
    problem(post(json!({"image_base64": base64(&vec![0; (1 << 20) + 1])})), 413, "body_too_large").await;
    problem(post(json!({"image_base64": "A".repeat(4 << 20)})), 413, "body_too_large").await;
    for inside in [
        "https://169.254.169.254/x.png",
        "https://localhost/x.png",
        "http://example.com/x.png",
        "file:///etc/passwd",
    ] {
        let problem = problem(post(json!({"image_url": inside})), 422, "image_unreachable").await;
        assert_eq!(problem["errors"][0]["pointer"], "/image_url");
    }
    let form = Form::new().part("image", Part::bytes(&b"GIF89a"[..]).file_name("photo.png"));
    problem(service.post("/api/v1/generate/image-to-3d").multipart(form), 422, "invalid_image").await;

    assert_eq!(service.jobs().list(&Default::default()).await.unwrap().items.len(), 0);
    assert!(!service.folder.path().join("inputs").exists(), "something was stored");
    service.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let service = Service::start("requests", &[InputKind::Image]).await;
    let url = "/api/v1/generate/image-to-3d";
    let with = |field: &str, value: Value| {
        let mut body = photo();
        body[field] = value;
        service.post(url).json(&body)
    };
    let unknown = problem(with("qualty", json!("high")), 422, "invalid_request").await;
    assert!(unknown["detail"].as_str().unwrap().contains("`qualty`"), "{unknown}");
    let pointer = |problem: Value| problem["errors"][0]["pointer"].as_str().unwrap().to_owned();
    // The type is wrong: found here.
    assert_eq!(pointer(problem(with("seed", json!("x")), 422, "invalid_request").await), "/seed");
    // The value is wrong: `rules.rs` has them all.
    let steps = json!({"sparse_structure": {"steps": 201}});
    assert_eq!(
        pointer(problem(with("sampling", steps), 422, "invalid_request").await),
        "/sampling/sparse_structure/steps"
    );
    assert_eq!(pointer(problem(with("seed", json!(-1)), 422, "invalid_request").await), "/seed");
    let texture = problem(with("mesh", json!({"texture_size": 1000})), 422, "invalid_request").await;
    assert!(pointer(texture).starts_with("/mesh"));
    assert_eq!(pointer(problem(with("pool", json!("none-such")), 422, "unknown_pool").await), "/pool");
    assert_eq!(pointer(problem(with("model", json!("none-such")), 422, "unknown_model").await), "/model");

    let text = |content_type: &str, body: &'static str| {
        service.post(url).header(CONTENT_TYPE, content_type).body(body)
    };
    problem(text("application/json", "{"), 400, "malformed_body").await;
    problem(text("multipart/form-data", "x"), 400, "malformed_body").await;
    problem(text("image/png", "x"), 415, "unsupported_media_type").await;
    problem(service.get("/api/v1/jobs?limit=many"), 400, "invalid_parameter").await;
    problem(service.get("/api/v1/jobs?stauts=failed"), 400, "invalid_parameter").await;
    problem(service.get("/api/v1/nothing"), 404, "not_found").await;
    problem(service.get("/api/v1/jobs/..%2f..%2fsecrets"), 404, "job_not_found").await;
    problem(service.get("/api/v1/jobs/GJ-X/status"), 404, "job_not_found").await;
    let wrong_method = service.get(url).send().await.unwrap();
    assert_eq!(wrong_method.headers()[ALLOW], "POST");
    problem(service.get(url), 405, "method_not_allowed").await;
    assert_eq!(service.jobs().list(&Default::default()).await.unwrap().items.len(), 0);
    service.stop().await;
}

#[tokio::test]
async fn text_needs_a_pool_that_takes_text() {
    let service = Service::start("text", &[InputKind::Image]).await;
    let chest = json!({"prompt": "a wooden treasure chest"});
    let request = || service.post("/api/v1/generate/text-to-3d").json(&chest);
    let refused = problem(request(), 503, "no_pool").await;
    assert!(refused["detail"].as_str().unwrap().contains("text"), "{refused}");
    assert!(request().send().await.unwrap().headers().contains_key(RETRY_AFTER));

    let pools: Api<WorkerPool> = service.namespace.api();
    let both = Patch::Merge(json!({"spec": {"inputs": ["image", "text"]}}));
    pools.patch("default", &PatchParams::default(), &both).await.unwrap();
    service
        .wait_for("/api/v1/health", async |response| {
            response.json::<Value>().await.unwrap()["text_to_3d"] == true
        })
        .await;
    let accepted = body(request().send().await.unwrap(), StatusCode::ACCEPTED).await;
    let job = service.jobs().get(&id(&accepted)).await.unwrap();
    assert_eq!(job.spec.input.text.unwrap().prompt, "a wooden treasure chest");
    service.stop().await;
}

#[tokio::test]
async fn without_a_pool_nothing_is_taken() {
    let service = Service::start("no-pool", &[]).await;
    problem(service.post("/api/v1/generate/image-to-3d").json(&photo()), 503, "no_pool").await;
    service.stop().await;
}

#[tokio::test]
async fn one_idempotency_key_makes_one_job() {
    let service = Service::start("idempotency", &[InputKind::Image]).await;
    let request = |body: &Value| {
        service.post("/api/v1/generate/image-to-3d").header("Idempotency-Key", "order-7").json(body)
    };
    // At the same time: whichever comes first makes the job, and the others get it.
    let body_sent = photo();
    let answers = futures::future::join_all((0..5).map(|_| request(&body_sent).send())).await;
    let mut ids = Vec::new();
    for answer in answers {
        ids.push(id(&body(answer.unwrap(), StatusCode::ACCEPTED).await));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    // Later, with other settings: not the same request.
    let mut other = photo();
    other["seed"] = json!(43);
    problem(request(&other), 422, "idempotency_key_reused").await;
    // Later still, when only the job's record is left.
    let job = service.jobs().get(&ids[0]).await.unwrap();
    keep_record(service.folder.path(), &job, completed(service.folder.path(), &job, b"glTF"));
    service.jobs().delete(&ids[0], &Default::default()).await.unwrap();
    service
        .wait_for("/api/v1/jobs", async |response| {
            response.json::<Value>().await.unwrap()["jobs"] == json!([])
        })
        .await;
    let again = body(request(&photo()).send().await.unwrap(), StatusCode::ACCEPTED).await;
    assert_eq!(id(&again), ids[0]);
    problem(request(&other), 422, "idempotency_key_reused").await;
    assert_eq!(service.jobs().list(&Default::default()).await.unwrap().items.len(), 0);
    let empty = service.post("/api/v1/generate/image-to-3d").header("Idempotency-Key", "").json(&photo());
    problem(empty, 400, "invalid_parameter").await;
    service.stop().await;
}

#[tokio::test]
async fn a_quota_of_the_namespace_is_a_429() {
    let service = Service::start("quota", &[InputKind::Image]).await;
    let quota = serde_json::from_value(json!({
        "metadata": {"name": "jobs"},
        "spec": {"hard": {"count/generationjobs.trellis3d.dev": "0"}},
        "status": {"hard": {"count/generationjobs.trellis3d.dev": "0"}, "used": {"count/generationjobs.trellis3d.dev": "0"}},
    }))
    .unwrap();
    let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> = service.namespace.api();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    quotas
        .replace_status("jobs", &PostParams::default(), &{
            let mut current = quotas.get("jobs").await.unwrap();
            current.status = quota.status;
            current
        })
        .await
        .unwrap();
    problem(service.post("/api/v1/generate/image-to-3d").json(&photo()), 429, "quota_exceeded").await;
    service.stop().await;
}

#[tokio::test]
async fn a_key_whose_namespace_is_missing_is_no_fault_of_the_client() {
    let service = Service::start("missing", &[InputKind::Image]).await;
    let [alice, _] = write_keys(&service.folder.path().join("keys.yaml"), "none-such");
    let request = || {
        reqwest::Client::new()
            .post(format!("{}/api/v1/generate/image-to-3d", service.url))
            .bearer_auth(&alice)
    };
    service.wait_for("/api/v1/jobs", async |response| response.status() == StatusCode::UNAUTHORIZED).await;
    problem(request().json(&photo()), 500, "internal").await;
    service.stop().await;
}
