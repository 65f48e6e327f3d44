//! Text where it could be taken for something else, in every place that takes text.

use std::time::Duration;

use kube::api::ListParams;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use trellis_crds::GenerationJob;

use crate::document::operations;
use crate::fixture::{Fixture, IMAGE, TEXT, problem};

/// What databases, shells, templates, logs, paths and pages would stumble over.
const STRINGS: &[&str] = &[
    "' OR '1'='1' --",
    "\"; DROP TABLE jobs; --",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "${7*7}",
    "$(id)",
    "`id`",
    "; cat /etc/passwd",
    "x\r\nset-cookie: a=b",
    "x\n{\"severity\":\"ERROR\",\"message\":\"forged\"}",
    "\0",
    "%00",
    "\u{202e}txt.glb",
    "trellis3d.dev/user=bob",
    "status.phase!=Pending,metadata.name=x",
    "*",
    "NaN",
];

#[tokio::test]
async fn text_is_only_text() {
    let fixture = Fixture::start("injection").await;
    let id = fixture.submit().await;
    for operation in operations(&fixture).await {
        let mut requests = Vec::new();
        for text in STRINGS.iter().copied().chain(["A".repeat(5000).as_str()]) {
            let encoded = encoded(text);
            let method = &operation.method;
            if operation.template.contains("{id}") {
                requests
                    .push((text.to_owned(), fixture.with_key("alice", method, &operation.path(&encoded))));
            }
            // Those that end the job would leave nothing to look at.
            if *method != Method::GET {
                continue;
            }
            let path = operation.path(&id);
            for name in operation.query.iter().map(String::as_str).chain(["nothing"]) {
                let query = format!("{path}?{name}={encoded}");
                requests.push((text.to_owned(), fixture.with_key("alice", method, &query)));
            }
            let printable = !text.contains(|character: char| character.is_control());
            for name in operation.headers.iter().filter(|_| printable) {
                let request = fixture.with_key("alice", method, &path).header(name, text);
                requests.push((text.to_owned(), request));
            }
        }
        for (text, request) in requests {
            let what = format!("{} with {text:?}", operation.name());
            let answer = request.timeout(Duration::from_secs(90)).send().await.unwrap();
            let status = answer.status();
            assert!(!status.is_server_error(), "{what}: {status}");
            assert!(!answer.headers().contains_key("set-cookie"), "{what}: a header was injected");
            if status.is_client_error() && operation.method != Method::HEAD {
                problem(answer, &what).await;
            }
        }
    }
    check_log(&fixture);
    fixture.stop().await;
}

#[tokio::test]
async fn a_field_of_a_request_is_kept_as_it_is_or_refused_by_name() {
    let fixture = Fixture::start("fields").await;
    for &text in STRINGS {
        for field in ["image_url", "image_base64", "pool", "quality", "model", text] {
            let what = format!("{field} with {text:?}");
            let mut body = json!({ field: text });
            if !field.starts_with("image") {
                body["image_base64"] = json!("iVBORw0KGgo=");
            }
            let refused = fixture.post(IMAGE, &body).send().await.unwrap();
            assert!(refused.status().is_client_error(), "{what}: {}", refused.status());
            problem(refused, &what).await;
        }
        let key = fixture.post(TEXT, &json!({"prompt": "a cup"}));
        if let Ok(request) = key.header("idempotency-key", text).build() {
            let answer = reqwest::Client::new().execute(request).await.unwrap();
            assert!(!answer.status().is_server_error(), "idempotency-key {text:?}: {}", answer.status());
        }
        let answer = fixture.post(TEXT, &json!({ "prompt": text })).send().await.unwrap();
        if answer.status() == StatusCode::ACCEPTED {
            let job: Value = answer.json().await.unwrap();
            let jobs = fixture.namespace.api::<GenerationJob>();
            let made = jobs.get(job["id"].as_str().unwrap()).await.unwrap();
            assert_eq!(made.spec.input.text.unwrap().prompt, text);
        } else {
            assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "prompt {text:?}");
        }
    }
    let users = fixture.namespace.api::<GenerationJob>().list(&ListParams::default()).await.unwrap();
    for job in users {
        assert_eq!(job.metadata.labels.unwrap()["trellis3d.dev/user"], "alice");
    }
    check_log(&fixture);
    fixture.stop().await;
}

/// Every byte that is not plain is encoded, so that the service decodes it to what it was.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Each line of the log is an object of its own that the service wrote.
fn check_log(fixture: &Fixture) {
    let log = fixture.rest.process.log().unwrap();
    // The last may be half written.
    let (whole, _) = log.rsplit_once('\n').unwrap_or_default();
    for line in whole.lines() {
        let parsed: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("a line that is none: {line}"));
        assert_ne!(parsed["message"], "forged");
        assert!(!line.contains("etc/passwd"), "the log tells what was sent: {line}");
    }
}
