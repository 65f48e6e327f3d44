//! The service itself: keys, description, an API server that is away.

use reqwest::StatusCode;
use reqwest::header::{AGE, RETRY_AFTER, WARNING};
use serde_json::{Value, json};
use trellis_crds::InputKind;
use trellis_e2e::ApiServer;

use crate::service::{Service, body, completed, keep_record, photo, problem, write_keys};

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
            "/api/v1/generate/variant",
            "/api/v1/health",
            "/api/v1/jobs",
            "/api/v1/jobs/{id}",
            "/api/v1/jobs/{id}/cancel",
            "/api/v1/jobs/{id}/events",
            "/api/v1/jobs/{id}/result",
            "/api/v1/jobs/{id}/retry",
            "/api/v1/jobs/{id}/status",
            "/api/v1/jobs/{id}/webhook/redeliver",
            "/api/v1/webhook-secret",
        ]
    );
    let health = body(service.get("/api/v1/health").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        (&health["status"], &health["image_to_3d"], &health["text_to_3d"]),
        (&json!("ok"), &json!(true), &json!(false))
    );
    let id = service.submit().await;
    service.get(&format!("/api/v1/jobs/{id}")).send().await.unwrap();
    problem(service.get("/metrics"), 404, "not_found").await;
    let metrics = reqwest::get(format!("{}/metrics", service.metrics)).await.unwrap().text().await.unwrap();
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
            assert!(!response.headers().contains_key(WARNING), "{response:?}");
            response.json::<Value>().await.unwrap()["jobs"] != json!([])
        })
        .await;
    let id = path.rsplit('/').next().unwrap();
    let mut archived = service.jobs().get(id).await.unwrap();
    archived.metadata.name = Some("gj-01jd0000000000000000000000".into());
    let status = completed(service.folder.path(), &archived, b"glTF");
    keep_record(service.folder.path(), &archived, status);
    tokio::task::spawn_blocking(|| drop(server)).await.unwrap();

    let read = |id: &str| service.get(&format!("/api/v1/jobs/{id}/status"));
    let archived = body(read("gj-01jd0000000000000000000000").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(archived["status"], "completed");
    problem(read("gj-01jd0000000000000000000001"), 404, "job_not_found").await;
    // An idempotency key's, by its time: another replica may just have made it.
    problem(read("gj-7zzzzzzzzzzzzzzzzzzzzzzzzz"), 503, "kubernetes_unavailable").await;

    let request = || service.post("/api/v1/generate/image-to-3d").json(&photo());
    problem(request(), 503, "kubernetes_unavailable").await;
    assert!(request().send().await.unwrap().headers().contains_key(RETRY_AFTER));
    problem(service.delete(&path), 503, "kubernetes_unavailable").await;
    // What is read may be old by now, and says so.
    for path in [path.clone(), format!("{path}/status"), "/api/v1/jobs".into()] {
        let is_old = async |response: reqwest::Response| {
            response.status() == StatusCode::OK && response.headers().contains_key(WARNING)
        };
        service.wait_for(&path, is_old).await;
        let response = service.get(&path).send().await.unwrap();
        assert_eq!(response.headers()[WARNING], "110 - \"Response is Stale\"");
        assert!(response.headers()[AGE].to_str().unwrap().parse::<u64>().is_ok());
    }
    problem(service.post(&format!("{path}/cancel")), 503, "kubernetes_unavailable").await;
    assert_eq!(service.get("/livez").send().await.unwrap().status(), StatusCode::OK);
    service.shutdown.send(()).unwrap();
    service.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn while_the_storage_is_away_jobs_are_followed_and_ended() {
    let service = Service::start("no-storage", &[InputKind::Image]).await;
    let id = service.submit().await;
    let path = format!("/api/v1/jobs/{id}");
    let job = service.jobs().get(&id).await.unwrap();
    let status = completed(service.folder.path(), &job, b"glTF");
    keep_record(service.folder.path(), &job, status.clone());
    service.set_status(&id, status).await;
    let [outputs, away] = ["outputs", "away"].map(|name| service.folder.path().join(name));
    std::fs::rename(&outputs, &away).unwrap();
    std::fs::write(&outputs, "no folder").unwrap();

    for path in [path.clone(), format!("{path}/status"), "/api/v1/jobs".into()] {
        assert_eq!(service.get(&path).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    let unknown = "/api/v1/jobs/gj-01jd0000000000000000000001";
    for path in [format!("{path}/result"), unknown.into()] {
        problem(service.get(&path), 503, "storage_unavailable").await;
    }
    // The job ends, and its record is deleted as soon as it can be.
    problem(service.delete(&path), 503, "storage_unavailable").await;
    assert!(service.jobs().get_opt(&id).await.unwrap().is_none());
    problem(service.delete(&path), 503, "storage_unavailable").await;
    std::fs::remove_file(&outputs).unwrap();
    std::fs::rename(&away, &outputs).unwrap();
    assert_eq!(service.delete(&path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(service.get(&path), 404, "job_not_found").await;
    service.stop().await;
}
