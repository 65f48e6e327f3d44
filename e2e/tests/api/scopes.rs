//! What a key allows, on every route that there is.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use trellis_api::{Key, Keys, Scope};
use trellis_crds::InputKind;

use crate::service::{Service, body, photo, problem};

/// Every route of the description that asks for a key: its method and its path, with a job's id in it.
async fn routes(service: &Service, id: &str) -> Vec<(Method, String)> {
    let document = body(service.get("/openapi.json").send().await.unwrap(), StatusCode::OK).await;
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            // As GET, without a body to look at.
            if method == "head" {
                continue;
            }
            let security = operation["security"].as_array().unwrap();
            if security.contains(&json!({})) {
                continue;
            }
            let answers = operation["responses"].as_object().unwrap();
            for status in ["401", "403"] {
                assert!(
                    answers.contains_key(status),
                    "{method} {path} does not say that it answers {status}"
                );
            }
            let method = method.to_uppercase().parse().unwrap();
            routes.push((method, path.replace("{id}", id)));
        }
    }
    assert!(routes.len() > 6, "{routes:?}");
    routes
}

/// Adds a key of alice's with these scopes to the keys file, and waits until the service knows it.
async fn add_key(service: &Service, name: &str, change: impl FnOnce(&mut Key)) -> String {
    let path = service.folder.path().join("keys.yaml");
    let mut keys: Keys = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let (key, mut entry) =
        Key::generate(name.into(), "alice".into(), service.namespace.name().into()).unwrap();
    change(&mut entry);
    keys.keys.push(entry);
    std::fs::write(&path, serde_yaml::to_string(&keys).unwrap()).unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer = Client::new().get(format!("{}/api/v1/jobs", service.url)).bearer_auth(&key).send().await;
        let problem = answer.unwrap().json::<Value>().await.unwrap();
        if problem["detail"] != "This API key is not valid. It may have been mistyped or withdrawn." {
            return key;
        }
        assert!(tokio::time::Instant::now() < deadline, "the new key is not known");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn scopes(scopes: &[Scope]) -> impl FnOnce(&mut Key) {
    let scopes = scopes.iter().copied().collect();
    |key| key.scopes = scopes
}

#[tokio::test]
async fn every_route_asks_for_a_key_that_has_its_scope() {
    let service = Service::start("scopes", &[InputKind::Image]).await;
    let id = service.submit().await;
    let reader = add_key(&service, "reader", scopes(&[Scope::Read])).await;
    let writer = add_key(&service, "writer", scopes(&[Scope::Write])).await;
    let nothing_but_admin = add_key(&service, "admin", scopes(&[Scope::Admin])).await;
    // Last what ends the job, so that the routes before it find it.
    let mut routes = routes(&service, &id).await;
    routes.sort_by_key(|(method, _)| *method == Method::DELETE);
    for (method, path) in routes {
        let request = |key: &str| {
            Client::new().request(method.clone(), format!("{}{path}", service.url)).bearer_auth(key)
        };
        let without = Client::new().request(method.clone(), format!("{}{path}", service.url));
        problem(without, 401, "unauthenticated").await;
        problem(request(&service.alice[1..]), 401, "unauthenticated").await;
        let (allowed, refused, scope) =
            if method.is_safe() { (&reader, &writer, "`read`") } else { (&writer, &reader, "`write`") };
        for key in [refused, &nothing_but_admin] {
            let missing = problem(request(key), 403, "scope_missing").await;
            assert!(missing["detail"].as_str().unwrap().contains(scope), "{method} {path}: {missing}");
        }
        let status = request(allowed).send().await.unwrap().status();
        assert!(![401, 403].contains(&status.as_u16()), "{method} {path}: {status}");
    }
    service.stop().await;
}

#[tokio::test]
async fn an_administrator_reaches_the_jobs_of_all_users_of_the_namespace() {
    let service = Service::start("admin", &[InputKind::Image]).await;
    let id = service.submit().await;
    // Deleted by an administrator who sees bob's jobs and alice's.
    let bobs = Client::new().post(format!("{}/api/v1/generate/image-to-3d", service.url)).json(&photo());
    let bobs = body(bobs.bearer_auth(&service.bob).send().await.unwrap(), StatusCode::ACCEPTED).await;
    let bobs = bobs["id"].as_str().unwrap();
    let path = format!("/api/v1/jobs/{bobs}");
    problem(service.get(&path), 404, "job_not_found").await;

    let admin = add_key(&service, "admin", scopes(&[Scope::Read, Scope::Write, Scope::Admin])).await;
    let request = |method, path: &str| {
        Client::new().request(method, format!("{}{path}", service.url)).bearer_auth(&admin)
    };
    for id in [bobs, &id] {
        let path = format!("/api/v1/jobs/{id}");
        body(request(Method::GET, &path).send().await.unwrap(), StatusCode::OK).await;
    }
    assert_eq!(request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(
        service
            .jobs()
            .get_opt(bobs)
            .await
            .unwrap()
            .is_none_or(|job| job.metadata.deletion_timestamp.is_some())
    );
    service.stop().await;
}

#[tokio::test]
async fn an_expired_key_does_not_work() {
    let service = Service::start("expired", &[]).await;
    let expired = "2026-01-01T00:00:00Z".parse().unwrap();
    let key = add_key(&service, "old", |key| key.expires = Some(expired)).await;
    let jobs = Client::new().get(format!("{}/api/v1/jobs", service.url)).header("x-api-key", key);
    let problem = problem(jobs, 401, "unauthenticated").await;
    assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");
    service.stop().await;
}
