//! Tokens of an issuer that publishes its keys at an address, and replaces them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use k8s_openapi::jiff::Timestamp;
use rcgen::KeyPair;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};
use trellis_crds::{InputKind, labels};

use crate::service::{Service, body, photo, problem};

/// An issuer with one key at a time.
struct Issuer {
    id: String,
    key: EncodingKey,
    published: Arc<Mutex<Value>>,
    url: String,
}

impl Issuer {
    async fn start() -> Self {
        let published = Arc::new(Mutex::new(Value::Null));
        let served = published.clone();
        let keys = get(async move || served.lock().unwrap().to_string());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().route("/keys", keys)).into_future());
        let mut issuer = Self { id: String::new(), key: new_key().0, published, url };
        issuer.replace_key("first");
        issuer
    }

    fn replace_key(&mut self, id: &str) {
        id.clone_into(&mut self.id);
        let (key, public) = new_key();
        self.key = key;
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": public, "kid": id, "use": "sig"});
        *self.published.lock().unwrap() = json!({ "keys": [key] });
    }

    /// A token for ten minutes.
    fn token(&self, user: &str, scope: &str) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::EdDSA) };
        let claims = json!({
            "iss": "tests", "aud": "trellis", "sub": user, "scope": scope, "exp": Timestamp::now().as_second() + 600,
        });
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }

    async fn service(&self, prefix: &str) -> Service {
        let service = Service::start_with_file(prefix, &[InputKind::Image], "").await;
        let file = json!({"jwt": [{
            "issuer": "tests", "audience": "trellis", "jwks_url": self.url, "namespace": service.namespace.name(),
            "scope_claim": "scope",
        }]});
        std::fs::write(service.folder.path().join("config.yaml"), file.to_string()).unwrap();
        service
    }
}

/// A key, and its public half as it is published.
fn new_key() -> (EncodingKey, String) {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let public = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    (EncodingKey::from_ed_der(&pair.serialize_der()), public)
}

fn list(service: &Service, token: &str) -> RequestBuilder {
    Client::new().get(format!("{}/api/v1/jobs", service.url)).bearer_auth(token)
}

/// Asks until the token is taken.
async fn wait_until_taken(service: &Service, token: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = list(service, token).send().await.unwrap();
        if answer.status() == StatusCode::OK {
            return;
        }
        assert!(Instant::now() < deadline, "the token is not taken: {}", answer.text().await.unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_tokens_user_has_jobs_as_one_with_a_key_has() {
    let issuer = Issuer::start().await;
    let service = issuer.service("token").await;
    let user = "alice@example.com";
    let token = issuer.token(user, "read write");
    // The settings file names the issuer since the service started.
    wait_until_taken(&service, &token).await;
    let submit = |token: &str| {
        let request = Client::new().post(format!("{}/api/v1/generate/image-to-3d", service.url));
        request.json(&photo()).bearer_auth(token)
    };
    let job = body(submit(&token).send().await.unwrap(), StatusCode::ACCEPTED).await;
    let id = job["id"].as_str().unwrap();
    let label = service.jobs().get(id).await.unwrap().metadata.labels.unwrap()[labels::USER].clone();
    assert!(label.starts_with("u-"), "an address is no label value: {label}");

    let status = |token: &str| {
        Client::new().get(format!("{}/api/v1/jobs/{id}/status", service.url)).bearer_auth(token)
    };
    body(status(&token).send().await.unwrap(), StatusCode::OK).await;
    problem(status(&issuer.token("bob", "read")), 404, "job_not_found").await;
    body(status(&issuer.token("bob", "read admin")).send().await.unwrap(), StatusCode::OK).await;
    problem(status(&issuer.token(user, "write")), 403, "scope_missing").await;
    problem(submit(&issuer.token(user, "read")), 403, "scope_missing").await;
    let forged =
        Issuer { id: issuer.id.clone(), key: new_key().0, published: Arc::default(), url: String::new() };
    problem(status(&forged.token(user, "read")), 401, "unauthenticated").await;
    service.stop().await;
}

#[tokio::test]
async fn a_replaced_key_is_found_and_those_that_are_known_outlive_their_issuer() {
    let mut issuer = Issuer::start().await;
    let service = issuer.service("rotation").await;
    let before = issuer.token("alice", "read");
    wait_until_taken(&service, &before).await;
    issuer.replace_key("second");
    let after = issuer.token("alice", "read");
    wait_until_taken(&service, &after).await;
    problem(list(&service, &before), 401, "unauthenticated").await;

    *issuer.published.lock().unwrap() = json!("no keys");
    body(list(&service, &after).send().await.unwrap(), StatusCode::OK).await;
    service.stop().await;
}

#[tokio::test]
async fn who_cannot_be_judged_now_is_told_so() {
    let issuer = Issuer::start().await;
    *issuer.published.lock().unwrap() = json!("no keys");
    let service = issuer.service("no-keys").await;
    let token = issuer.token("alice", "read");
    let deadline = Instant::now() + Duration::from_secs(60);
    // Until the settings file is read again the token is a wrong key.
    while list(&service, &token).send().await.unwrap().status() == StatusCode::UNAUTHORIZED {
        assert!(Instant::now() < deadline, "the settings are not read again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    problem(list(&service, &token), 503, "issuer_unavailable").await;
    service.stop().await;
}
