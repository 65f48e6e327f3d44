//! What every answer carries, whatever it answers.

use reqwest::{Method, Response};
use serde_json::json;

use crate::document::operations;
use crate::fixture::{Fixture, NO_JOB, TEXT};

#[tokio::test]
async fn every_answer_tells_browsers_to_run_keep_and_pass_on_nothing() {
    let fixture = Fixture::start("headers").await;
    let id = fixture.submit().await;
    let mut answers = Vec::new();
    for operation in operations(&fixture).await {
        for path in [operation.path(&id), operation.path(NO_JOB)] {
            answers.push(fixture.request(&operation.method, &path));
            if operation.method != Method::DELETE {
                answers.push(fixture.with_key("alice", &operation.method, &path));
            }
        }
    }
    let get = |path: &str| fixture.with_key("alice", &Method::GET, path);
    answers.extend([
        get("/nowhere"),
        get("/api/v1/jobs/%2e%2e%2f"),
        get("/api/v1/jobs?limit=x"),
        get("/livez"),
        get("/readyz"),
        get("/openapi.json"),
        get("/docs"),
        get("/docs/"),
        get("/"),
        fixture.with_key("alice", &Method::PUT, TEXT),
        fixture.with_key("alice", &Method::TRACE, "/"),
        fixture.with_key("alice", &Method::OPTIONS, TEXT),
        fixture.post(TEXT, &json!([])),
        fixture.with_key("alice", &Method::POST, TEXT).header("content-type", "text/plain").body("x"),
    ]);
    for request in answers {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let what = format!("{} {}", request.method(), request.url().path());
        check(&client.execute(request).await.unwrap(), &what);
    }
    fixture.stop().await;
}

fn check(answer: &Response, what: &str) {
    let what = format!("{what}: {}", answer.status());
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(header("referrer-policy"), Some("no-referrer"), "{what}");
    let policy = header("content-security-policy").unwrap_or_else(|| panic!("{what}: no policy"));
    assert!(policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
    assert!(
        policy.contains("default-src 'none'") || policy.contains("default-src 'self'"),
        "{what}: {policy}"
    );
    assert!(!policy.contains("unsafe-eval"), "{what}: {policy}");
    assert!(header("cache-control").is_some(), "{what}: nothing says whether it may be kept");
    assert!(header("x-request-id").is_some(), "{what}: no id");
    for telling in ["server", "x-powered-by", "via", "set-cookie", "access-control-allow-origin"] {
        assert_eq!(header(telling), None, "{what}: {telling}");
    }
    if answer.status().is_client_error() && answer.status() != 404 {
        assert_ne!(header("cache-control"), Some("public"), "{what}");
    }
}
