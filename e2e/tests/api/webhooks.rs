//! Webhooks: a real API server, a real receiver with TLS, and services that come and go.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use trellis_api::{Listeners, MasterSecrets, ServeError, Settings, WebhookSettings};
use trellis_crds::{DeliveryState, GenerationJob, InputKind, WebhookDelivery};
use trellis_e2e::{ApiServer, Namespace, install_crds};

use super::service::{body, create_pool, id, listen, photo, problem, write_keys, write_webhook_secret};

const DEADLINE: Duration = Duration::from_secs(60);

/// What a receiver was sent.
#[derive(Clone, Debug)]
struct Message {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether one of its signatures is made with `secret`, by the rules of Standard Webhooks.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.header("webhook-id"), self.header("webhook-timestamp")).as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

/// What the receiver knows and does.
#[derive(Default)]
struct Desk {
    messages: Mutex<Vec<Message>>,
    answer: Mutex<Option<StatusCode>>,
    came: Notify,
}

/// A receiver at `https://127.0.0.1`, with a certificate of an authority of its own.
struct Receiver {
    address: SocketAddr,
    authority: PathBuf,
    desk: Arc<Desk>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Receiver {
    /// Starts one that answers `answer`; none where it is to stay silent.
    async fn start(folder: &Path, answer: impl Into<Option<StatusCode>>) -> Self {
        let (authority, certificate, key) = certificates();
        let path = folder.join("receiver-ca.pem");
        std::fs::write(&path, authority).unwrap();
        let tls = RustlsConfig::from_pem(certificate.into_bytes(), key.into_bytes()).await.unwrap();
        let desk = Arc::new(Desk { answer: Mutex::new(answer.into()), ..Desk::default() });
        let router = Router::new().fallback(receive).with_state(desk.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
        let task = tokio::spawn(server.serve(router.into_make_service()));
        Self { address, authority: path, desk, task }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    fn answer(&self, status: StatusCode) {
        *self.desk.answer.lock().unwrap() = Some(status);
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.desk.messages.lock().unwrap()
    }

    /// Waits until so many messages have come, and returns them.
    async fn wait_for(&self, count: usize) -> Vec<Message> {
        let arrived = async {
            loop {
                let came = self.desk.came.notified();
                if self.messages().len() >= count {
                    return self.messages().clone();
                }
                came.await;
            }
        };
        let seen = || self.messages().iter().map(Message::json).collect::<Vec<_>>();
        timeout(DEADLINE, arrived).await.unwrap_or_else(|_| panic!("not {count} messages, but {:?}", seen()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    desk.messages.lock().unwrap().push(Message { path: uri.path().into(), headers, body });
    desk.came.notify_waiters();
    let answer = *desk.answer.lock().unwrap();
    match answer {
        Some(status) if status.is_redirection() => {
            (status, [(header::LOCATION, "/elsewhere")]).into_response()
        }
        Some(status) => status.into_response(),
        None => std::future::pending().await,
    }
}

/// An authority, and a certificate of it with its key, for 127.0.0.1.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}

/// A namespace with a receiver, in which services are started.
struct Site {
    namespace: Namespace,
    folder: TempDir,
    receiver: Receiver,
    alice: String,
    webhooks: WebhookSettings,
}

/// A service that runs.
struct Replica {
    url: String,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Replica {
    async fn stop(self) {
        self.shutdown.send(()).unwrap();
        timeout(DEADLINE, self.task).await.expect("the service does not stop").unwrap().unwrap();
    }

    /// Ends it as a crash does.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

impl Site {
    async fn new(prefix: &str, answer: impl Into<Option<StatusCode>>) -> Self {
        let client = ApiServer::shared().await.unwrap().client().await.unwrap();
        install_crds(&client).await.unwrap();
        let namespace = Namespace::create(&client, prefix).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [alice, _] = write_keys(&folder.path().join("keys.yaml"), namespace.name());
        let secret = write_webhook_secret(folder.path());
        let receiver = Receiver::start(folder.path(), answer).await;
        let webhooks = WebhookSettings {
            secret_file: Some(secret),
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            ca_file: Some(receiver.authority.clone()),
            namespaces: vec![namespace.name().to_owned()],
            retry_seconds: vec![1; 50],
            ..WebhookSettings::default()
        };
        Self { namespace, folder, receiver, alice, webhooks }
    }

    async fn replica(&self) -> Replica {
        let folder = self.folder.path();
        let inputs = format!("file://{}", folder.join("inputs").display());
        let settings = Settings {
            webhooks: self.webhooks.clone(),
            ..Settings::new(folder.join("keys.yaml"), inputs, self.namespace.name().to_owned())
        };
        let client = ApiServer::shared().await.unwrap().client().await.unwrap();
        let listeners = Listeners { api: listen().await, metrics: listen().await };
        let url = format!("http://{}", listeners.api.local_addr().unwrap());
        let (shutdown, stopped) = oneshot::channel();
        let task = tokio::spawn(trellis_api::serve(listeners, settings, client, async {
            let _ = stopped.await;
        }));
        Replica { url, shutdown, task }
    }

    fn jobs(&self) -> Api<GenerationJob> {
        self.namespace.api()
    }

    /// A job of alice's whose webhook is told `events`.
    async fn create(&self, name: &str, url: &str, events: &[&str]) -> GenerationJob {
        let labels = json!({"app.kubernetes.io/managed-by": "trellis-api", "trellis3d.dev/user": "alice"});
        self.create_labelled(name, url, events, labels).await
    }

    async fn create_labelled(&self, name: &str, url: &str, events: &[&str], labels: Value) -> GenerationJob {
        let job = json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "input": {"image": {"sources": [{"uri": "gs://photos/cup.png"}]}},
                "webhook": {"url": url, "events": events},
            },
        });
        let job = serde_json::from_value(job).unwrap();
        self.jobs().create(&PostParams::default(), &job).await.unwrap()
    }

    /// Writes a job's status, as operator and worker do.
    async fn set_status(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.jobs().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn complete(&self, name: &str) {
        self.set_status(name, completed()).await;
    }

    /// Waits until the deliveries of the job are as they should be.
    async fn deliveries(
        &self,
        name: &str,
        what: &str,
        are: impl Fn(&[WebhookDelivery]) -> bool,
    ) -> Vec<WebhookDelivery> {
        let deliveries = |job: &GenerationJob| {
            job.status.clone().and_then(|status| status.webhook).unwrap_or_default().deliveries
        };
        let is = |job: Option<&GenerationJob>| job.is_some_and(|job| are(&deliveries(job)));
        let job = self.namespace.wait_for::<GenerationJob>(name, what, DEADLINE, is).await.unwrap();
        deliveries(&job.unwrap())
    }

    /// Waits until the job's only delivery is in `state`.
    async fn delivery(&self, name: &str, state: DeliveryState) -> WebhookDelivery {
        let is = |deliveries: &[WebhookDelivery]| deliveries.iter().any(|delivery| delivery.state == state);
        self.deliveries(name, &format!("{state:?}"), is).await.remove(0)
    }

    fn request(&self, replica: &Replica, method: Method, path: &str) -> RequestBuilder {
        reqwest::Client::new().request(method, format!("{}{path}", replica.url)).bearer_auth(&self.alice)
    }

    /// A request whose webhook is at `url`.
    fn request_for(&self, replica: &Replica, url: &str) -> RequestBuilder {
        let mut request = photo();
        request["webhook"] = json!({"url": url, "events": ["completed"]});
        self.request(replica, Method::POST, "/api/v1/generate/image-to-3d").json(&request)
    }

    async fn end(self, replicas: impl IntoIterator<Item = Replica>) {
        for replica in replicas {
            replica.stop().await;
        }
        self.namespace.delete().await.unwrap();
    }
}

fn started() -> Value {
    json!({
        "phase": "Processing",
        "assignment": {
            "pool": "default", "worker": "default-a", "podUid": "1", "attempt": 1, "time": "2026-11-24T07:00:00.000000Z",
        },
    })
}

fn completed() -> Value {
    json!({
        "phase": "Completed", "completionTime": "2026-11-24T07:00:05.000000Z",
        "outputs": [{"format": "glb", "uri": "gs://assets/model.glb", "bytes": 7, "sha256": "aa"}],
    })
}

#[tokio::test]
async fn a_receiver_is_told_what_becomes_of_a_job_and_can_tell_who_says_so() {
    let site = Site::new("webhooks", StatusCode::NO_CONTENT).await;
    let replica = site.replica().await;
    let id = "gj-01jd3y8w5x4k2m9v7t6r5q4p3n";
    let events = ["start", "progress", "completed", "failed", "cancelled"];
    let job = site.create(id, &site.receiver.url("/hooks?for=cup"), &events).await;
    let uid = job.metadata.uid.unwrap();

    site.set_status(id, started()).await;
    site.receiver.wait_for(1).await;
    let progress =
        json!({"stage": "structured_latent", "percent": 62, "updatedAt": "2026-11-24T07:00:03.000000Z"});
    site.set_status(id, json!({ "progress": progress })).await;
    site.receiver.wait_for(2).await;
    site.complete(id).await;
    let messages = site.receiver.wait_for(3).await;

    let types: Vec<_> = messages.iter().map(|message| message.json()["type"].clone()).collect();
    assert_eq!(types, ["job.start", "job.progress", "job.completed"]);
    assert_eq!(messages[0].header("webhook-id"), format!("{uid}-start"));
    assert_eq!(messages[0].json()["timestamp"], "2026-11-24T07:00:00Z");
    assert_eq!(messages[1].json()["data"]["progress"]["percent"], 62);
    let last = messages[2].json();
    assert_eq!((&last["data"]["id"], &last["data"]["status"]), (&json!(id), &json!("completed")));
    assert_eq!(last["data"]["outputs"][0]["url"], format!("/api/v1/jobs/{id}/result?format=glb"));

    let secret = site.request(&replica, Method::GET, "/api/v1/webhook-secret").send().await.unwrap();
    let secret = body(secret, StatusCode::OK).await["secret"].as_str().unwrap().to_owned();
    let bobs = MasterSecrets::read(site.webhooks.secret_file.as_ref().unwrap()).unwrap();
    let bobs = bobs.of(site.namespace.name(), "bob")[0].to_text();
    for message in &messages {
        assert_eq!((message.path.as_str(), message.header("content-type")), ("/hooks", "application/json"));
        assert!(message.is_signed_with(&secret), "{message:?}");
        assert!(!message.is_signed_with(&bobs), "another user's secret says nothing");
        let sent: i64 = message.header("webhook-timestamp").parse().unwrap();
        assert!((k8s_openapi::jiff::Timestamp::now().as_second() - sent).abs() < 300);
    }
    let delivered = site
        .deliveries(id, "told", |deliveries| {
            deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Delivered).count() == 2
        })
        .await;
    assert_eq!(delivered.len(), 2, "of progress no record is kept: {delivered:?}");
    let told = site.request(&replica, Method::GET, &format!("/api/v1/jobs/{id}")).send().await.unwrap();
    let told = body(told, StatusCode::OK).await;
    assert_eq!(told["webhook"]["deliveries"][1]["state"], "delivered", "{told}");
    site.end([replica]).await;
}

#[tokio::test]
async fn a_request_names_its_webhook() {
    let site = Site::new("webhooks-request", StatusCode::OK).await;
    create_pool(&site.namespace, &[InputKind::Image]).await;
    let replica = site.replica().await;
    let deadline = Instant::now() + DEADLINE;
    let job = loop {
        let response = site.request_for(&replica, &site.receiver.url("/")).send().await.unwrap();
        if response.status() != StatusCode::SERVICE_UNAVAILABLE {
            break body(response, StatusCode::ACCEPTED).await;
        }
        assert!(Instant::now() < deadline, "the service does not get ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    site.complete(&id(&job)).await;
    let message = site.receiver.wait_for(1).await.remove(0).json();
    assert_eq!((&message["type"], &message["data"]["id"]), (&json!("job.completed"), &job["id"]));
    site.end([replica]).await;
}

#[tokio::test]
async fn a_job_of_kubectl_is_told_of_with_the_secret_of_its_namespace() {
    let site = Site::new("webhooks-kubectl", StatusCode::OK).await;
    let replica = site.replica().await;
    site.create_labelled("cup", &site.receiver.url("/"), &["completed"], json!({})).await;
    site.complete("cup").await;
    let message = site.receiver.wait_for(1).await.remove(0);
    let secret = MasterSecrets::read(site.webhooks.secret_file.as_ref().unwrap()).unwrap();
    assert!(message.is_signed_with(&secret.of(site.namespace.name(), "")[0].to_text()));
    let data = &message.json()["data"];
    assert_eq!(data["namespace"], site.namespace.name());
    assert_eq!(data["outputs"][0]["url"], "gs://assets/model.glb");
    assert_eq!(data.get("links"), None, "REST does not know it");
    site.end([replica]).await;
}

#[tokio::test]
async fn what_a_receiver_does_not_take_it_gets_again_after_a_restart_as_well() {
    let site = Site::new("webhooks-again", StatusCode::INTERNAL_SERVER_ERROR).await;
    let first = site.replica().await;
    site.create("cup", &site.receiver.url("/"), &["completed"]).await;
    site.complete("cup").await;
    let failed = site.delivery("cup", DeliveryState::Pending).await;
    assert_eq!(failed.message.as_deref(), Some("the receiver answered 500"));
    assert!(failed.next_attempt_time > failed.last_attempt_time);
    site.receiver.wait_for(2).await;
    first.stop().await;

    site.receiver.answer(StatusCode::OK);
    let second = site.replica().await;
    let delivered = site.delivery("cup", DeliveryState::Delivered).await;
    assert!(delivered.attempts > 2, "{delivered:?}");
    assert_eq!((delivered.message.as_deref(), delivered.next_attempt_time.as_ref()), (None, None));
    let messages = site.receiver.messages().clone();
    assert!(messages.iter().all(|message| message.header("webhook-id") == delivered.id), "one id for all");
    site.end([second]).await;
}

#[tokio::test]
async fn a_sender_that_dies_before_it_writes_down_what_it_sent_sends_it_again() {
    let site = Site::new("webhooks-crash", None).await;
    let first = site.replica().await;
    site.create("cup", &site.receiver.url("/"), &["completed"]).await;
    site.complete("cup").await;
    site.receiver.wait_for(1).await;
    first.kill().await;

    site.receiver.answer(StatusCode::OK);
    let second = site.replica().await;
    let delivered = site.delivery("cup", DeliveryState::Delivered).await;
    let messages = site.receiver.messages().clone();
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|message| message.header("webhook-id") == delivered.id));
    site.end([second]).await;
}

#[tokio::test]
async fn of_two_replicas_one_sends() {
    let site = Site::new("webhooks-two", StatusCode::OK).await;
    let replicas = [site.replica().await, site.replica().await];
    for n in 0..20 {
        let name = format!("cup-{n}");
        site.create(&name, &site.receiver.url("/"), &["start", "completed"]).await;
        site.set_status(&name, started()).await;
        site.complete(&name).await;
    }
    for n in 0..20 {
        let told = |deliveries: &[WebhookDelivery]| {
            deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Delivered).count() == 2
        };
        site.deliveries(&format!("cup-{n}"), "told", told).await;
    }
    let messages = site.receiver.messages().clone();
    let mut ids: Vec<_> = messages.iter().map(|message| message.header("webhook-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), messages.len()), (40, 40));
    site.end(replicas).await;
}

#[tokio::test]
async fn what_is_given_up_shows_and_is_delivered_when_its_user_asks_for_it() {
    let mut site = Site::new("webhooks-dead", StatusCode::BAD_GATEWAY).await;
    site.webhooks.retry_seconds = vec![0];
    let replica = site.replica().await;
    let id = "gj-01jd3y8w5x4k2m9v7t6r5q4p3n";
    site.create(id, &site.receiver.url("/"), &["completed"]).await;
    let redeliver = format!("/api/v1/jobs/{id}/webhook/redeliver");
    let ask = || site.request(&replica, Method::POST, &redeliver);
    problem(ask(), 409, "job_not_finished").await;
    site.complete(id).await;
    let dead = site.delivery(id, DeliveryState::Dead).await;
    assert_eq!((dead.attempts, dead.message.as_deref()), (2, Some("the receiver answered 502")));
    let event = site.namespace.wait_for_event(id, "WebhookFailed", DEADLINE).await.unwrap();
    assert!(event.message.unwrap().contains("the receiver answered 502"));

    site.receiver.answer(StatusCode::OK);
    let again = body(ask().send().await.unwrap(), StatusCode::ACCEPTED).await;
    assert_eq!(again["webhook"]["deliveries"][0]["state"], "pending", "{again}");
    let delivered = site.delivery(id, DeliveryState::Delivered).await;
    assert_eq!((&delivered.id, delivered.attempts), (&dead.id, 1));
    // What was delivered is delivered again as well.
    let before = site.receiver.messages().len();
    body(ask().send().await.unwrap(), StatusCode::ACCEPTED).await;
    let messages = site.receiver.wait_for(before + 1).await;
    assert!(messages.iter().all(|message| message.header("webhook-id") == dead.id));

    let silent = "gj-01jd3y8w5x4k2m9v7t6r5q4p3p";
    site.create(silent, &site.receiver.url("/"), &["failed"]).await;
    site.complete(silent).await;
    let ask = site.request(&replica, Method::POST, &format!("/api/v1/jobs/{silent}/webhook/redeliver"));
    problem(ask, 409, "no_webhook").await;
    let strangers = "/api/v1/jobs/gj-01jd3y8w5x4k2m9v7t6r5q4p3q/webhook/redeliver";
    problem(site.request(&replica, Method::POST, strangers), 404, "job_not_found").await;
    site.end([replica]).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone_and_one_that_sends_elsewhere_is_not_followed() {
    let mut site = Site::new("webhooks-gone", StatusCode::GONE).await;
    let replica = site.replica().await;
    site.create("gone", &site.receiver.url("/"), &["completed"]).await;
    site.complete("gone").await;
    let dead = site.delivery("gone", DeliveryState::Dead).await;
    assert_eq!(dead.attempts, 1);
    replica.stop().await;

    site.receiver.answer(StatusCode::TEMPORARY_REDIRECT);
    site.webhooks.retry_seconds = Vec::new();
    let replica = site.replica().await;
    site.create("moved", &site.receiver.url("/"), &["completed"]).await;
    site.complete("moved").await;
    let dead = site.delivery("moved", DeliveryState::Dead).await;
    assert_eq!(dead.message.as_deref(), Some("the receiver answered 307"));
    assert!(site.receiver.messages().iter().all(|message| message.path == "/"), "it was followed");
    site.end([replica]).await;
}

#[tokio::test]
async fn nothing_is_sent_into_networks_that_the_installation_does_not_name() {
    let mut site = Site::new("webhooks-hostile", StatusCode::OK).await;
    site.webhooks.networks = Vec::new();
    let replica = site.replica().await;
    let port = site.receiver.address.port();
    for (name, url) in [
        ("literal", format!("https://127.0.0.1:{port}/")),
        ("name", format!("https://localhost:{port}/")),
        ("mapped", format!("https://[::ffff:127.0.0.1]:{port}/")),
        ("number", "https://2130706433/".to_owned()),
        ("metadata", "https://169.254.169.254/computeMetadata/v1/".to_owned()),
        ("service", "https://kubernetes.default.svc/".to_owned()),
        ("user", "https://user:secret@example.com/".to_owned()),
    ] {
        site.create(name, &url, &["completed"]).await;
        site.complete(name).await;
        let dead = site.delivery(name, DeliveryState::Dead).await;
        assert_eq!(dead.attempts, 1, "{url}: {dead:?}");
        assert!(!dead.message.unwrap().contains("127"), "the status tells no addresses");
        let refused = problem(site.request_for(&replica, &url), 422, "invalid_request").await;
        assert_eq!(refused["errors"][0]["pointer"], "/webhook/url", "{refused}");
    }
    assert!(site.receiver.messages().is_empty());
    site.end([replica]).await;
}

#[tokio::test]
async fn an_installation_without_a_secret_says_that_it_sends_nothing() {
    let mut site = Site::new("webhooks-off", StatusCode::OK).await;
    site.webhooks.secret_file = None;
    let replica = site.replica().await;
    site.create("cup", &site.receiver.url("/"), &["completed"]).await;
    site.complete("cup").await;
    let dead = site.delivery("cup", DeliveryState::Dead).await;
    assert!(dead.message.unwrap().contains("sends no webhooks"));
    problem(site.request(&replica, Method::GET, "/api/v1/webhook-secret"), 404, "webhooks_off").await;
    let refused = problem(site.request_for(&replica, "https://example.com/"), 422, "invalid_request").await;
    assert_eq!(refused["errors"][0]["pointer"], "/webhook", "{refused}");
    assert!(site.receiver.messages().is_empty());
    site.end([replica]).await;
}
