//! A REST API for one test, with keys of every kind.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use trellis_e2e::processes::{KeyEntry, Rest, RestSettings};
use trellis_e2e::{ApiServer, LOG_LEVEL, Namespace, install_crds, tells_none};

pub(crate) const TEXT: &str = "/api/v1/generate/text-to-3d";
pub(crate) const VARIANT: &str = "/api/v1/generate/variant";
pub(crate) const IMAGE: &str = "/api/v1/generate/image-to-3d";
pub(crate) const PHOTO: &[u8] = include_bytes!("../../../worker/pipeline/tests/golden/15_end2end/input.png");
/// A job that nobody has.
pub(crate) const NO_JOB: &str = "gj-00000000000000000000000001";
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(90);
/// What every job of the fixture is to show, and what its webhooks are signed with.
const PROMPT: &str = "a cup that nobody may read of";
const WEBHOOK_SECRET: &str = "what-webhooks-are-signed-with-here";

/// A running service whose pool takes everything, and nobody who works.
pub(crate) struct Fixture {
    pub(crate) rest: Rest,
    pub(crate) namespace: Namespace,
    client: Client,
}

impl Fixture {
    /// Starts one. Keys: `alice` and `bob`, who read and write; `alice-reads` and `alice-writes`, who do one of them; `alice-expired`; `admin`; and
    /// `stranger`, the administrator of another namespace.
    pub(crate) async fn start(prefix: &str) -> Self {
        Self::with_config(prefix, |_| json!({})).await
    }

    /// The same with a settings file, which is told the namespace.
    pub(crate) async fn with_config(prefix: &str, config: impl Fn(&str) -> Value) -> Self {
        let server = ApiServer::shared().await.unwrap();
        let client = server.client().await.unwrap();
        install_crds(&client).await.unwrap();
        let namespace = Namespace::create(&client, prefix).await.unwrap();
        trellis_e2e::processes::create_pool(&namespace, 1).await.unwrap();
        let of = |user: &str| KeyEntry::of(user, namespace.name());
        let keys = vec![
            of("alice"),
            of("bob"),
            of("alice").with("alice-reads", "scopes", json!(["read"])),
            of("alice").with("alice-writes", "scopes", json!(["write"])),
            of("alice").with("alice-expired", "expires", json!("2020-01-01T00:00:00Z")),
            of("root").with("admin", "scopes", json!(["read", "write", "admin"])),
            KeyEntry::of("root", "elsewhere").with("stranger", "scopes", json!(["read", "write", "admin"])),
        ];
        let config = config(namespace.name());
        let settings = RestSettings {
            keys,
            config,
            webhook_secret: WEBHOOK_SECRET.into(),
            log_level: LOG_LEVEL.into(),
            ..RestSettings::of(namespace.name(), &[""; 0])
        };
        let rest = Rest::start(server, &settings).await.unwrap();
        let client = Client::builder().timeout(LIMIT).redirect(reqwest::redirect::Policy::none());
        Self { rest, namespace, client: client.build().unwrap() }
    }

    /// A request of nobody.
    pub(crate) fn request(&self, method: &Method, path: &str) -> RequestBuilder {
        self.client.request(method.clone(), format!("{}{path}", self.rest.url()))
    }

    /// A request with the key of this name.
    pub(crate) fn with_key(&self, id: &str, method: &Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(self.rest.key(id))
    }

    /// Alice's request to make an asset.
    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.with_key("alice", &Method::POST, path).json(body)
    }

    /// Submits a job of alice's, and returns its id.
    pub(crate) async fn submit(&self) -> String {
        let answer = self.post(TEXT, &json!({ "prompt": PROMPT })).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let job: Value = answer.json().await.unwrap();
        job["id"].as_str().unwrap().to_owned()
    }

    /// Ends the test. Whatever it did, the log tells none of the secrets that it did it with.
    pub(crate) async fn stop(self) {
        let secrets = self.rest.keys().chain([PROMPT, WEBHOOK_SECRET, "alice", "whsec_", "eyJ", "Bearer"]);
        tells_none("the API", &self.rest.process.log().unwrap(), secrets);
        self.namespace.delete().await.unwrap();
    }
}

/// What says more of the inside of the service than anybody outside should know.
const INTERNAL: [&str; 8] =
    ["/tmp/", "file://", "panicked", ".rs:", "127.0.0.1", "localhost:", "kube::", "serde_json::"];

/// Checks that a refusal is a problem that tells nothing of the inside, and returns it.
pub(crate) async fn problem(answer: Response, what: &str) -> Value {
    let status = answer.status();
    assert!(status.is_client_error() || status.is_server_error(), "{what}: {status}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{what}: {status}");
    let text = answer.text().await.unwrap();
    let problem: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"));
    assert_eq!(problem["status"], status.as_u16(), "{what}: {text}");
    for word in INTERNAL {
        // What the caller sent may come back.
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(!detail.contains(word) || what.contains(word), "{what}: tells {word}: {text}");
    }
    problem
}
