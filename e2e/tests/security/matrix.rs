//! Who may do what: every route with every kind of key.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::document::{Operation, operations};
use crate::fixture::{Fixture, NO_JOB, problem};

#[tokio::test]
async fn every_route_wants_a_key_with_the_right_scope() {
    let fixture = Fixture::start("matrix").await;
    let mut seen = Vec::new();
    for operation in operations(&fixture).await {
        let reads = operation.method == Method::GET || operation.method == Method::HEAD;
        for key in ["none", "wrong", "alice-expired", "alice-reads", "alice-writes", "alice", "admin"] {
            let what = format!("{} with the key {key}", operation.name());
            let status = ask(&fixture, &operation, key).await;
            let expected = match key {
                _ if operation.open => None,
                "none" | "wrong" | "alice-expired" => Some(StatusCode::UNAUTHORIZED),
                "alice-reads" if !reads => Some(StatusCode::FORBIDDEN),
                "alice-writes" if reads => Some(StatusCode::FORBIDDEN),
                _ => None,
            };
            match expected {
                Some(expected) => assert_eq!(status, expected, "{what}"),
                None => assert!(
                    status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN,
                    "{what}: {status}"
                ),
            }
        }
        seen.push(operation);
    }
    let open: Vec<_> = seen.iter().filter(|one| one.open).map(Operation::name).collect();
    assert_eq!(open, ["HEAD /api/v1/health", "GET /api/v1/health"], "what needs no key is known by name");
    fixture.stop().await;
}

/// The status of the answer, and that it is a problem where it refuses.
async fn ask(fixture: &Fixture, operation: &Operation, key: &str) -> StatusCode {
    let path = operation.path(NO_JOB);
    let request = match key {
        "none" => fixture.request(&operation.method, &path),
        "wrong" => fixture.request(&operation.method, &path).bearer_auth("trellis_wrong"),
        key => fixture.with_key(key, &operation.method, &path),
    };
    let request = if operation.method == Method::POST { request.json(&json!({})) } else { request };
    let answer = request.send().await.unwrap();
    let status = answer.status();
    if status.is_client_error() && operation.method != Method::HEAD {
        let problem = problem(answer, &operation.name()).await;
        if status == StatusCode::FORBIDDEN {
            assert_eq!(problem["code"], "scope_missing");
        }
    }
    status
}

#[tokio::test]
async fn a_job_is_there_for_its_user_and_for_administrators_of_its_namespace_alone() {
    let fixture = Fixture::start("owners").await;
    let about_jobs: Vec<_> =
        operations(&fixture).await.into_iter().filter(|one| one.template.contains("{id}")).collect();
    assert!(about_jobs.len() >= 4);
    for operation in about_jobs {
        // A new one each time: some of the operations end it.
        let id = fixture.submit().await;
        for key in ["bob", "stranger"] {
            let answer = fixture.with_key(key, &operation.method, &operation.path(&id)).send().await.unwrap();
            let what = format!("{} by {key}", operation.name());
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{what}");
            if operation.method != Method::HEAD {
                assert_eq!(problem(answer, &what).await["code"], "job_not_found", "{what}");
            }
        }
        for key in ["admin", "alice"] {
            let id = fixture.submit().await;
            let answer = fixture.with_key(key, &operation.method, &operation.path(&id)).send().await.unwrap();
            let what = format!("{} by {key}: {}", operation.name(), answer.status());
            assert!(
                answer.status() != StatusCode::NOT_FOUND && answer.status() != StatusCode::FORBIDDEN,
                "{what}"
            );
        }
    }
    let listed = fixture.with_key("bob", &Method::GET, "/api/v1/jobs").send().await.unwrap();
    let listed: serde_json::Value = listed.json().await.unwrap();
    assert_eq!(listed["jobs"], json!([]), "bob has none");
    fixture.stop().await;
}

#[tokio::test]
async fn a_key_works_in_one_header_and_only_whole() {
    let fixture = Fixture::start("keys").await;
    let key = fixture.rest.key("alice").to_owned();
    let ask = |headers: Vec<(&'static str, String)>| {
        let request = fixture.request(&Method::GET, "/api/v1/jobs");
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        async { request.send().await.unwrap().status() }
    };
    assert_eq!(ask(vec![("authorization", format!("Bearer {key}"))]).await, StatusCode::OK);
    assert_eq!(ask(vec![("x-api-key", key.clone())]).await, StatusCode::OK);
    for wrong in [
        vec![("authorization", format!("Basic {key}"))],
        vec![("authorization", key.clone())],
        vec![("authorization", format!("Bearer {}", &key[..key.len() - 1]))],
        vec![("authorization", format!("Bearer {key}x"))],
        vec![("authorization", format!("Bearer {}", key.to_uppercase()))],
        vec![("authorization", "Bearer ".into())],
        vec![("authorization", "Bearer".into())],
        // A wrong key is not mended by a right one beside it.
        vec![("authorization", "Bearer trellis_wrong".into()), ("x-api-key", key.clone())],
        vec![("cookie", format!("authorization=Bearer {key}"))],
    ] {
        assert_eq!(ask(wrong.clone()).await, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    let query = fixture.request(&Method::GET, &format!("/api/v1/jobs?api_key={key}"));
    assert_eq!(
        query.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED,
        "a key in the address is none"
    );
    fixture.stop().await;
}
