//! A running service for one test, and what tests say to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use trellis_api::{Key, Keys, Listeners, Settings, WebhookSettings};
use trellis_crds::{GenerationJob, InputKind, WorkerPool};
use trellis_e2e::{ApiServer, Namespace, install_crds, own_log, tells_none};

pub(crate) const PHOTO: &[u8] = include_bytes!("../../../worker/pipeline/tests/golden/15_end2end/input.png");
/// What webhooks are signed with.
const WEBHOOK_SECRET: &str = "0123456789abcdef0123456789abcdef";
/// What no log may tell, of whatever test: users, what they ask for, and what things look like that prove who somebody is.
const SECRETS: [&str; 8] =
    ["alice", "a cup", "treasure chest", "rusty iron", WEBHOOK_SECRET, "whsec_", "eyJ", "Bearer"];
const DEADLINE: Duration = Duration::from_secs(20);

/// A running service with two users in one namespace.
pub(crate) struct Service {
    pub(crate) url: String,
    /// The address of `/metrics`.
    pub(crate) metrics: String,
    pub(crate) alice: String,
    pub(crate) bob: String,
    pub(crate) namespace: Namespace,
    pub(crate) folder: TempDir,
    pub(crate) shutdown: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<Result<(), trellis_api::ServeError>>,
}

impl Service {
    /// Starts one whose pools take `inputs`.
    pub(crate) async fn start(prefix: &str, inputs: &[InputKind]) -> Self {
        Self::start_on(ApiServer::shared().await.unwrap(), prefix, inputs).await
    }

    pub(crate) async fn start_on(server: &ApiServer, prefix: &str, inputs: &[InputKind]) -> Self {
        Self::start_with(server, prefix, inputs, |_, _| {}).await
    }

    /// Starts one with settings that `change` may change, given the folder of its files.
    pub(crate) async fn start_with(
        server: &ApiServer,
        prefix: &str,
        inputs: &[InputKind],
        change: impl FnOnce(&mut Settings, &Path),
    ) -> Self {
        own_log();
        let client = server.client().await.unwrap();
        install_crds(&client).await.unwrap();
        let namespace = Namespace::create(&client, prefix).await.unwrap();
        if !inputs.is_empty() {
            create_pool(&namespace, inputs).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let [alice, bob] = write_keys(&folder.path().join("keys.yaml"), namespace.name());
        let keys = folder.path().join("keys.yaml");
        let inputs = format!("file://{}", folder.path().join("inputs").display());
        let mut settings = Settings {
            output_uri: Some(format!("file://{}", folder.path().join("outputs").display())),
            max_image_bytes: 1 << 20,
            webhooks: WebhookSettings {
                secret_file: Some(write_webhook_secret(folder.path())),
                // Other tests' jobs are on the same API server.
                namespaces: vec![namespace.name().to_owned()],
                ..WebhookSettings::default()
            },
            ..Settings::new(keys, inputs, namespace.name().to_owned())
        };
        change(&mut settings, folder.path());
        let listeners = Listeners { api: listen().await, metrics: listen().await };
        let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listeners.api.local_addr().unwrap());
        let metrics = format!("http://{}", listeners.metrics.local_addr().unwrap());
        let (shutdown, stopped) = oneshot::channel();
        let task = tokio::spawn(trellis_api::serve(listeners, settings, client, async {
            let _ = stopped.await;
        }));
        let service = Self { url, metrics, alice, bob, namespace, folder, shutdown, task };
        service.wait_until_ready().await;
        service
    }

    /// Starts one with this settings file.
    pub(crate) async fn start_with_file(prefix: &str, inputs: &[InputKind], file: &str) -> Self {
        let server = ApiServer::shared().await.unwrap();
        Self::start_with(server, prefix, inputs, |settings, folder| {
            std::fs::write(folder.join("config.yaml"), file).unwrap();
            settings.config_file = Some(folder.join("config.yaml"));
        })
        .await
    }

    /// Waits at the port of the metrics, which speaks HTTP whatever the API speaks.
    async fn wait_until_ready(&self) {
        let deadline = Instant::now() + DEADLINE;
        let path = format!("{}/readyz", self.metrics);
        while reqwest::get(&path).await.unwrap().status() != StatusCode::OK {
            assert!(Instant::now() < deadline, "the service does not get ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        reqwest::Client::new().get(format!("{}{path}", self.url)).bearer_auth(&self.alice)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        reqwest::Client::new().post(format!("{}{path}", self.url)).bearer_auth(&self.alice)
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        reqwest::Client::new().delete(format!("{}{path}", self.url)).bearer_auth(&self.alice)
    }

    /// Submits the photo in base64 and returns the job's id.
    pub(crate) async fn submit(&self) -> String {
        let response = self.post("/api/v1/generate/image-to-3d").json(&photo()).send().await.unwrap();
        id(&body(response, StatusCode::ACCEPTED).await)
    }

    /// Asks for `path` until the answer satisfies `condition`.
    pub(crate) async fn wait_for(&self, path: &str, condition: impl AsyncFn(Response) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self.get(path).send().await.unwrap()).await {
            assert!(Instant::now() < deadline, "{path} does not become what it should be");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn jobs(&self) -> Api<GenerationJob> {
        self.namespace.api()
    }

    /// Writes a job's status, as operator and worker do, and waits until the service has seen it.
    pub(crate) async fn set_status(&self, id: &str, status: Value) {
        let phase = status["phase"].as_str().unwrap().to_lowercase();
        let patch = Patch::Merge(json!({ "status": status }));
        self.jobs().patch_status(id, &PatchParams::default(), &patch).await.unwrap();
        let path = format!("/api/v1/jobs/{id}/status");
        self.wait_for(&path, async |response| {
            response.json::<Value>().await.unwrap()["status"] == phase.as_str()
        })
        .await;
    }

    /// Changes a job's object by a merge patch.
    pub(crate) async fn patch(&self, id: &str, patch: &Value) {
        self.jobs().patch(id, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Waits until a job's object is as asked.
    pub(crate) async fn wait_for_object(
        &self,
        id: &str,
        is: impl Fn(&GenerationJob) -> bool,
    ) -> GenerationJob {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let job = self.jobs().get(id).await.unwrap();
            if is(&job) {
                return job;
            }
            assert!(Instant::now() < deadline, "{id} does not become what it should be: {job:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the service and deletes its namespace. Ends only when the service has. Whatever it did, its log tells none of the secrets that it did
    /// it with.
    pub(crate) async fn stop(self) {
        self.shutdown.send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.task).await.expect("the service does not stop").unwrap().unwrap();
        self.namespace.delete().await.unwrap();
        let log = own_log().read();
        assert!(log.contains("ready"), "what is logged is not written down");
        tells_none("the service", &log, [self.alice.as_str(), &self.bob].into_iter().chain(SECRETS));
    }
}

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) async fn create_pool(namespace: &Namespace, inputs: &[InputKind]) {
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
pub(crate) fn write_keys(path: &Path, namespace: &str) -> [String; 2] {
    let [(alice, a), (bob, b)] =
        ["alice", "bob"].map(|user| Key::generate(user.into(), user.into(), namespace.into()).unwrap());
    std::fs::write(path, serde_yaml::to_string(&Keys { keys: vec![a, b] }).unwrap()).unwrap();
    [alice, bob]
}

/// Writes the secret that webhooks are signed with, and returns its file.
pub(crate) fn write_webhook_secret(folder: &Path) -> PathBuf {
    let path = folder.join("webhook-secret");
    std::fs::write(&path, WEBHOOK_SECRET).unwrap();
    path
}

pub(crate) fn photo() -> Value {
    json!({"image_base64": base64(PHOTO), "output_formats": ["glb"], "quality": "fast", "seed": 42})
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn id(job: &Value) -> String {
    job["id"].as_str().unwrap().to_owned()
}

/// The JSON body of `response`, whose status must be `expected`.
pub(crate) async fn body(response: Response, expected: StatusCode) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, expected, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The problem in `response`, which must have this status and code.
pub(crate) async fn problem(request: RequestBuilder, status: u16, code: &str) -> Value {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json", "{response:?}");
    let problem = body(response, StatusCode::from_u16(status).unwrap()).await;
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("urn:trellis3d:problem:{code}"));
    problem
}

/// The status that a worker reports for a model that it has written for `job` below `folder`.
pub(crate) fn completed(folder: &Path, job: &GenerationJob, model: &[u8]) -> Value {
    let path = folder.join("outputs").join(job.folder_of_attempt(1)).join("model.glb");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, model).unwrap();
    completed_with(&[output("glb", &format!("file://{}", path.display()), model)])
}

/// What a worker reports of a file that it has written.
pub(crate) fn output(format: &str, uri: &str, content: &[u8]) -> Value {
    let sha256 = hex::encode(Sha256::digest(content));
    json!({"format": format, "uri": uri, "bytes": content.len(), "sha256": sha256})
}

/// The status that a worker reports with these files.
pub(crate) fn completed_with(outputs: &[Value]) -> Value {
    json!({
        "phase": "Completed",
        "assignment": {
            "pool": "default", "worker": "default-a", "podUid": "1", "attempt": 1, "time": "2026-11-24T07:00:00.000000Z",
        },
        "seed": 42,
        "startTime": "2026-11-24T07:00:00.000000Z",
        "completionTime": "2026-11-24T07:00:05.000000Z",
        "outputs": outputs,
        "timings": [{"stage": "sparse_structure", "milliseconds": 1200}],
    })
}

/// Keeps what a worker keeps of `job` once an attempt has ended so that its status is `status`.
pub(crate) fn keep_record(folder: &Path, job: &GenerationJob, status: Value) {
    let mut record = job.clone();
    record.status = Some(serde_json::from_value(status).unwrap());
    let namespace = job.metadata.namespace.as_deref().unwrap();
    let path = GenerationJob::archive_path(namespace, job.metadata.name.as_deref().unwrap()).unwrap();
    let path = folder.join("outputs").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
}
