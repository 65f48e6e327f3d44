//! The REST API in front of a real API server, with files in a temporary folder as its storage.

use std::path::Path;
use std::time::Duration;

use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use reqwest::header::{ALLOW, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use trellis_api::{Key, Keys, Settings};
use trellis_crds::{GenerationJob, InputKind, WorkerPool};
use trellis_e2e::{ApiServer, Namespace, install_crds};

const PHOTO: &[u8] = include_bytes!("../../worker/pipeline/tests/golden/15_end2end/input.png");
const DEADLINE: Duration = Duration::from_secs(20);

/// A running service with two users in one namespace.
struct Service {
    url: String,
    alice: String,
    bob: String,
    namespace: Namespace,
    folder: TempDir,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Result<(), trellis_api::ServeError>>,
}

impl Service {
    /// Starts one whose pools take `inputs`.
    async fn start(prefix: &str, inputs: &[InputKind]) -> Self {
        Self::start_on(ApiServer::shared().await.unwrap(), prefix, inputs).await
    }

    async fn start_on(server: &ApiServer, prefix: &str, inputs: &[InputKind]) -> Self {
        let client = server.client().await.unwrap();
        install_crds(&client).await.unwrap();
        let namespace = Namespace::create(&client, prefix).await.unwrap();
        if !inputs.is_empty() {
            create_pool(&namespace, inputs).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let [alice, bob] = write_keys(&folder.path().join("keys.yaml"), namespace.name());
        let settings = Settings {
            api_keys_file: folder.path().join("keys.yaml"),
            input_uri: format!("file://{}", folder.path().join("inputs").display()),
            storage_emulator_host: None,
            pool_namespace: namespace.name().to_owned(),
            file_roots: vec![folder.path().join("outputs")],
            max_image_bytes: 1 << 20,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (shutdown, stopped) = oneshot::channel();
        let task = tokio::spawn(trellis_api::serve(listener, settings, client, async {
            let _ = stopped.await;
        }));
        let service = Self { url, alice, bob, namespace, folder, shutdown, task };
        service.wait_for("/readyz", async |response| response.status() == StatusCode::OK).await;
        service
    }

    fn get(&self, path: &str) -> RequestBuilder {
        reqwest::Client::new().get(format!("{}{path}", self.url)).bearer_auth(&self.alice)
    }

    fn post(&self, path: &str) -> RequestBuilder {
        reqwest::Client::new().post(format!("{}{path}", self.url)).bearer_auth(&self.alice)
    }

    fn delete(&self, path: &str) -> RequestBuilder {
        reqwest::Client::new().delete(format!("{}{path}", self.url)).bearer_auth(&self.alice)
    }

    /// Submits the photo in base64 and returns the job's id.
    async fn submit(&self) -> String {
        let response = self.post("/api/v1/generate/image-to-3d").json(&photo()).send().await.unwrap();
        id(&body(response, StatusCode::ACCEPTED).await)
    }

    /// Asks for `path` until the answer satisfies `condition`.
    async fn wait_for(&self, path: &str, condition: impl AsyncFn(Response) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self.get(path).send().await.unwrap()).await {
            assert!(Instant::now() < deadline, "{path} does not become what it should be");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn jobs(&self) -> Api<GenerationJob> {
        self.namespace.api()
    }

    /// Writes a job's status, as operator and worker do, and waits until the service has seen it.
    async fn set_status(&self, id: &str, status: Value) {
        let phase = status["phase"].as_str().unwrap().to_lowercase();
        let patch = Patch::Merge(json!({ "status": status }));
        self.jobs().patch_status(id, &PatchParams::default(), &patch).await.unwrap();
        let path = format!("/api/v1/jobs/{id}/status");
        self.wait_for(&path, async |response| {
            response.json::<Value>().await.unwrap()["status"] == phase.as_str()
        })
        .await;
    }

    /// Stops the service and deletes its namespace. Ends only when the service has.
    async fn stop(self) {
        self.shutdown.send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.task).await.expect("the service does not stop").unwrap().unwrap();
        self.namespace.delete().await.unwrap();
    }
}

async fn create_pool(namespace: &Namespace, inputs: &[InputKind]) {
    let pool = json!({
        "apiVersion": "trellis3d.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": "default"},
        "spec": {
            "model": "tiny",
            "modelUri": "file:///models/tiny",
            "inputs": inputs,
            "template": {"spec": {"containers": [{"name": "worker", "image": "worker"}]}},
        },
    });
    let pool: WorkerPool = serde_json::from_value(pool).unwrap();
    namespace.api().create(&PostParams::default(), &pool).await.unwrap();
}

/// Writes a keys file and returns the keys of alice and bob.
fn write_keys(path: &Path, namespace: &str) -> [String; 2] {
    let [(alice, a), (bob, b)] =
        ["alice", "bob"].map(|user| Key::generate(user.into(), user.into(), namespace.into()).unwrap());
    std::fs::write(path, serde_yaml::to_string(&Keys { keys: vec![a, b] }).unwrap()).unwrap();
    [alice, bob]
}

fn photo() -> Value {
    json!({"image_base64": base64(PHOTO), "output_formats": ["glb"], "quality": "fast", "seed": 42})
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn id(job: &Value) -> String {
    job["id"].as_str().unwrap().to_owned()
}

/// The JSON body of `response`, whose status must be `expected`.
async fn body(response: Response, expected: StatusCode) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, expected, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The problem in `response`, which must have this status and code.
async fn problem(request: RequestBuilder, status: u16, code: &str) -> Value {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json", "{response:?}");
    let problem = body(response, StatusCode::from_u16(status).unwrap()).await;
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("urn:trellis3d:problem:{code}"));
    problem
}

/// The status that a worker reports for a model that it has written to `folder`.
fn completed(folder: &Path, model: &[u8]) -> Value {
    let path = folder.join("outputs/model.glb");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, model).unwrap();
    json!({
        "phase": "Completed",
        "seed": 42,
        "startTime": "2026-11-24T07:00:00.000000Z",
        "completionTime": "2026-11-24T07:00:05.000000Z",
        "outputs": [{
            "format": "glb",
            "uri": format!("file://{}", path.display()),
            "bytes": model.len(),
            "sha256": hex::encode(Sha256::digest(model)),
        }],
        "timings": [{"stage": "sparse_structure", "milliseconds": 1200}],
    })
}

#[tokio::test]
async fn a_photo_in_base64_becomes_a_job_and_its_result_the_workers_bytes() {
    let service = Service::start("base64", &[InputKind::Image]).await;
    let response = service.post("/api/v1/generate/image-to-3d").json(&photo()).send().await.unwrap();
    let location = response.headers()[LOCATION].to_str().unwrap().to_owned();
    let accepted = body(response, StatusCode::ACCEPTED).await;
    let id = id(&accepted);
    assert_eq!(accepted["status"], "pending");
    assert_eq!(location, format!("/api/v1/jobs/{id}"));
    assert_eq!(accepted["links"]["self"], location);

    // What the operator and the worker find.
    let job = service.jobs().get(&id).await.unwrap();
    assert_eq!(job.labels()["app.kubernetes.io/managed-by"], "trellis-api");
    assert_eq!(job.labels()["trellis3d.dev/user"], "alice");
    let uri = job.spec.input.image.unwrap().sources[0].uri.clone().unwrap();
    let folder =
        format!("file://{}/inputs/{}/{id}/", service.folder.path().display(), service.namespace.name());
    assert!(uri.starts_with(&folder) && uri.ends_with(".png"), "{uri}");
    assert_eq!(std::fs::read(uri.strip_prefix("file://").unwrap()).unwrap(), PHOTO);

    // Read at once, whatever the watch has seen.
    let status = body(service.get(&format!("{location}/status")).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!((&status["id"], &status["status"]), (&accepted["id"], &accepted["status"]));
    let waiting = problem(service.get(&format!("{location}/result")), 409, "job_not_finished").await;
    assert_eq!(waiting["job_status"], "pending");

    let progress =
        json!({"stage": "structured_latent", "percent": 62, "updatedAt": "2026-11-24T07:00:02.000000Z"});
    service.set_status(&id, json!({"phase": "Processing", "progress": progress})).await;
    let status = body(service.get(&format!("{location}/status")).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(status["progress"], json!({"stage": "structured_latent", "percent": 62}));

    let model: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    service.set_status(&id, completed(service.folder.path(), &model)).await;
    let all = body(service.get(&location).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(all["outputs"][0]["format"], "glb");
    assert_eq!(all["completed_at"], "2026-11-24T07:00:05Z");

    let url = all["outputs"][0]["url"].as_str().unwrap();
    let response = service.get(url).send().await.unwrap();
    let headers = response.headers().clone();
    assert_eq!(headers[CONTENT_TYPE], "model/gltf-binary");
    assert_eq!(headers["content-length"], model.len().to_string());
    assert_eq!(headers["content-disposition"], format!("attachment; filename=\"{id}.glb\""));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers[ETAG], format!("\"{}\"", hex::encode(Sha256::digest(&model))));
    assert!(response.bytes().await.unwrap() == model, "the result is not what the worker wrote");

    let again = service.get(url).header(IF_NONE_MATCH, &headers[ETAG]).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let other =
        problem(service.get(&format!("{location}/result?format=usdz")), 404, "format_not_found").await;
    assert_eq!(other["available_formats"], json!(["glb"]));
    std::fs::remove_file(service.folder.path().join("outputs/model.glb")).unwrap();
    problem(service.get(url), 404, "result_gone").await;
    service.stop().await;
}

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
async fn jobs_are_seen_by_their_user_alone() {
    let service = Service::start("users", &[InputKind::Image]).await;
    let id = service.submit().await;
    let path = format!("/api/v1/jobs/{id}");
    service
        .wait_for("/api/v1/jobs", async |response| {
            response.json::<Value>().await.unwrap()["jobs"][0]["id"] == id
        })
        .await;

    let as_user = |key: &str, path: &str| {
        reqwest::Client::new().get(format!("{}{path}", service.url)).header("x-api-key", key)
    };
    assert_eq!(as_user(&service.alice, &path).send().await.unwrap().status(), StatusCode::OK);
    for path in [path.clone(), format!("{path}/status"), format!("{path}/result")] {
        problem(as_user(&service.bob, &path), 404, "job_not_found").await;
        problem(as_user("trellis_wrong", &path), 401, "unauthenticated").await;
    }
    let theirs = body(as_user(&service.bob, "/api/v1/jobs").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(theirs["jobs"], json!([]));
    let delete = reqwest::Client::new().delete(format!("{}{path}", service.url)).bearer_auth(&service.bob);
    problem(delete, 404, "job_not_found").await;

    let anonymous = reqwest::Client::new().get(format!("{}/api/v1/jobs", service.url)).send().await.unwrap();
    assert_eq!(anonymous.headers()[WWW_AUTHENTICATE], "Bearer realm=\"trellis\"");
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);

    // A job that kubectl made in the same namespace is nobody's.
    let mut foreign = service.jobs().get(&id).await.unwrap();
    foreign.metadata = Default::default();
    foreign.metadata.name = Some("gj-00000000000000000000000000".into());
    service.jobs().create(&PostParams::default(), &foreign).await.unwrap();
    problem(service.get("/api/v1/jobs/gj-00000000000000000000000000"), 404, "job_not_found").await;
    service.stop().await;
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
    // The value is wrong: found by the API server, against the rules of the resource.
    let steps = json!({"sparse_structure": {"steps": 201}});
    assert_eq!(
        pointer(problem(with("sampling", steps), 422, "invalid_request").await),
        "/sampling/sparse_structure/steps"
    );
    assert_eq!(pointer(problem(with("seed", json!(-1)), 422, "invalid_request").await), "/seed");
    let texture = problem(with("mesh", json!({"texture_size": 1000})), 422, "invalid_request").await;
    assert!(pointer(texture).starts_with("/mesh"));
    assert_eq!(pointer(problem(with("pool", json!("none-such")), 422, "unknown_pool").await), "/pool");

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
    let empty = service.post("/api/v1/generate/image-to-3d").header("Idempotency-Key", "").json(&photo());
    problem(empty, 400, "invalid_parameter").await;
    service.stop().await;
}

#[tokio::test]
async fn failed_and_cancelled_jobs_say_why_there_is_no_result() {
    let service = Service::start("failed", &[InputKind::Image]).await;
    let id = service.submit().await;
    let error = json!({"code": "OutOfMemory", "message": "the device's memory ran out", "retryable": true});
    service.set_status(&id, json!({"phase": "Failed", "error": error})).await;
    let failed = problem(service.get(&format!("/api/v1/jobs/{id}/result")), 409, "job_failed").await;
    assert_eq!(failed["job_error"], error);
    let status = service.get(&format!("/api/v1/jobs/{id}/status")).send().await.unwrap();
    assert_eq!(body(status, StatusCode::OK).await["error"], error);

    let id = service.submit().await;
    service.set_status(&id, json!({"phase": "Cancelled"})).await;
    problem(service.get(&format!("/api/v1/jobs/{id}/result")), 409, "job_cancelled").await;

    let listed = service.get("/api/v1/jobs?status=failed&limit=5").send().await.unwrap();
    assert_eq!(body(listed, StatusCode::OK).await["jobs"].as_array().unwrap().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn a_deleted_job_is_gone() {
    let service = Service::start("delete", &[InputKind::Image]).await;
    let path = format!("/api/v1/jobs/{}", service.submit().await);
    assert_eq!(service.delete(&path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(service.delete(&path), 404, "job_not_found").await;
    service.wait_for(&path, async |response| response.status() == StatusCode::NOT_FOUND).await;
    assert_eq!(service.jobs().list(&Default::default()).await.unwrap().items.len(), 0);
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
async fn a_withdrawn_key_ends_without_a_restart() {
    let service = Service::start("keys", &[]).await;
    let [alice, _] = write_keys(&service.folder.path().join("keys.yaml"), service.namespace.name());
    service.wait_for("/api/v1/jobs", async |response| response.status() == StatusCode::UNAUTHORIZED).await;
    let new = reqwest::Client::new().get(format!("{}/api/v1/jobs", service.url)).bearer_auth(alice);
    assert_eq!(new.send().await.unwrap().status(), StatusCode::OK);
    service.stop().await;
}

#[tokio::test]
async fn the_service_describes_itself() {
    let service = Service::start("openapi", &[InputKind::Image]).await;
    let document = body(service.get("/openapi.json").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        paths,
        [
            "/api/v1/generate/image-to-3d",
            "/api/v1/generate/text-to-3d",
            "/api/v1/health",
            "/api/v1/jobs",
            "/api/v1/jobs/{id}",
            "/api/v1/jobs/{id}/result",
            "/api/v1/jobs/{id}/status",
        ]
    );
    let health = body(service.get("/api/v1/health").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        (&health["status"], &health["image_to_3d"], &health["text_to_3d"]),
        (&json!("ok"), &json!(true), &json!(false))
    );
    let id = service.submit().await;
    service.get(&format!("/api/v1/jobs/{id}")).send().await.unwrap();
    let metrics = service.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains(
            r#"trellis_api_request_seconds_count{method="GET",route="/api/v1/jobs/{id}",status="200"}"#
        ),
        "{metrics}"
    );
    assert!(!metrics.contains(&id), "metrics name a job");
    service.stop().await;
}

#[tokio::test]
async fn while_the_api_server_is_away_jobs_are_read_and_not_made() {
    let server = ApiServer::start().await.unwrap();
    let service = Service::start_on(&server, "away", &[InputKind::Image]).await;
    let path = format!("/api/v1/jobs/{}", service.submit().await);
    service
        .wait_for("/api/v1/jobs", async |response| {
            response.json::<Value>().await.unwrap()["jobs"] != json!([])
        })
        .await;
    tokio::task::spawn_blocking(|| drop(server)).await.unwrap();

    let request = || service.post("/api/v1/generate/image-to-3d").json(&photo());
    problem(request(), 503, "kubernetes_unavailable").await;
    assert!(request().send().await.unwrap().headers().contains_key(RETRY_AFTER));
    problem(service.delete(&path), 503, "kubernetes_unavailable").await;
    assert_eq!(service.get(&path).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(service.get("/livez").send().await.unwrap().status(), StatusCode::OK);
    service.shutdown.send(()).unwrap();
    service.task.await.unwrap().unwrap();
}
