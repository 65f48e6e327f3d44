//! Following jobs, fetching what they made, ending them.

use kube::ResourceExt as _;
use kube::api::PostParams;
use reqwest::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trellis_crds::InputKind;

use crate::service::{PHOTO, Service, body, completed, id, keep_record, photo, problem};

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
    let job = service.jobs().get(&id).await.unwrap();
    service.set_status(&id, completed(service.folder.path(), &job, &model)).await;
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
    std::fs::remove_dir_all(service.folder.path().join("outputs")).unwrap();
    problem(service.get(url), 404, "result_gone").await;
    // What a worker that an input took over could write.
    let mut forged = completed(service.folder.path(), &job, &model);
    let theirs =
        forged["outputs"][0]["uri"].as_str().unwrap().replace(job.metadata.uid.as_deref().unwrap(), "theirs");
    forged["outputs"][0]["uri"] = theirs.into();
    service.set_status(&id, forged).await;
    service.wait_for(url, async |response| response.status() != StatusCode::OK).await;
    problem(service.get(url), 500, "internal").await;
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
async fn failed_and_cancelled_jobs_say_why_there_is_no_result() {
    let service = Service::start("failed", &[InputKind::Image]).await;
    let id = service.submit().await;
    let error = json!({"code": "OutOfMemory", "message": "the device's memory ran out", "retryable": true});
    service.set_status(&id, json!({"phase": "Failed", "error": error})).await;
    let error = json!({
        "code": "job_failed", "reason": "OutOfMemory", "message": "the device's memory ran out", "retryable": true,
    });
    let failed = problem(service.get(&format!("/api/v1/jobs/{id}/result")), 502, "job_failed").await;
    assert_eq!(failed["job_error"], error);
    let status = service.get(&format!("/api/v1/jobs/{id}/status")).send().await.unwrap();
    assert_eq!(body(status, StatusCode::OK).await["error"], error);
    for (reason, status, code) in
        [("InvalidInput", 422, "job_input_refused"), ("DeadlineExceeded", 504, "job_deadline_passed")]
    {
        let id = service.submit().await;
        let error = json!({"code": reason, "message": "no", "retryable": false});
        service.set_status(&id, json!({"phase": "Failed", "error": error})).await;
        let failed = problem(service.get(&format!("/api/v1/jobs/{id}/result")), status, code).await;
        assert_eq!(
            (&failed["job_error"]["code"], &failed["job_error"]["reason"]),
            (&json!(code), &json!(reason))
        );
    }

    let id = service.submit().await;
    service.set_status(&id, json!({"phase": "Cancelled"})).await;
    problem(service.get(&format!("/api/v1/jobs/{id}/result")), 409, "job_cancelled").await;

    let listed = service.get("/api/v1/jobs?status=failed&limit=5").send().await.unwrap();
    assert_eq!(body(listed, StatusCode::OK).await["jobs"].as_array().unwrap().len(), 3);
    service.stop().await;
}

#[tokio::test]
async fn a_deleted_job_is_gone() {
    let service = Service::start("delete", &[InputKind::Image]).await;
    let path = format!("/api/v1/jobs/{}", service.submit().await);
    let id = path.rsplit('/').next().unwrap();
    let job = service.jobs().get(id).await.unwrap();
    keep_record(service.folder.path(), &job, completed(service.folder.path(), &job, b"glTF"));
    let listed = async |response: Response| response.json::<Value>().await.unwrap()["jobs"] != json!([]);
    service.wait_for("/api/v1/jobs", listed).await;
    assert_eq!(service.delete(&path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let list = body(service.get("/api/v1/jobs").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!((&list["jobs"], &list["totals"]["pending"]), (&json!([]), &json!(0)));
    problem(service.get(&path), 404, "job_not_found").await;
    problem(service.delete(&path), 404, "job_not_found").await;
    assert_eq!(service.jobs().list(&Default::default()).await.unwrap().items.len(), 0);
    service.stop().await;
}

#[tokio::test]
async fn a_job_that_is_gone_is_answered_for_from_its_record() {
    let service = Service::start("record", &[InputKind::Image]).await;
    let path = format!("/api/v1/jobs/{}", service.submit().await);
    let id = path.rsplit('/').next().unwrap();
    let job = service.jobs().get(id).await.unwrap();
    let status = completed(service.folder.path(), &job, b"glTF");
    service.set_status(id, status.clone()).await;
    let read = async |path: &str| body(service.get(path).send().await.unwrap(), StatusCode::OK).await;
    let before = (read(&path).await, read(&format!("{path}/status")).await);

    keep_record(service.folder.path(), &job, status);
    service.jobs().delete(id, &Default::default()).await.unwrap();
    let listed =
        async |response: reqwest::Response| response.json::<Value>().await.unwrap()["jobs"] == json!([]);
    service.wait_for("/api/v1/jobs", listed).await;
    assert_eq!((read(&path).await, read(&format!("{path}/status")).await), before);
    let result = service.get(&format!("{path}/result")).send().await.unwrap();
    assert_eq!(result.bytes().await.unwrap(), "glTF");

    for path in [path.clone(), format!("{path}/status"), format!("{path}/result")] {
        let bob = reqwest::Client::new().get(format!("{}{path}", service.url)).bearer_auth(&service.bob);
        problem(bob, 404, "job_not_found").await;
    }
    let bob = reqwest::Client::new().delete(format!("{}{path}", service.url)).bearer_auth(&service.bob);
    problem(bob, 404, "job_not_found").await;
    assert_eq!(service.delete(&path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    problem(service.get(&path), 404, "job_not_found").await;
    problem(service.delete(&path), 404, "job_not_found").await;
    service.stop().await;
}

#[tokio::test]
async fn a_job_that_is_gone_and_never_completed_has_failed() {
    let service = Service::start("failed-record", &[InputKind::Image]).await;
    let path = format!("/api/v1/jobs/{}", service.submit().await);
    let id = path.rsplit('/').next().unwrap();
    let job = service.jobs().get(id).await.unwrap();
    let time = "2026-11-24T07:00:00.000000Z";
    let attempt = json!({
        "number": 1, "worker": "a", "start": time, "end": time,
        "outcome": "Failed", "reason": "OutOfMemory", "message": "the memory did not suffice",
    });
    keep_record(service.folder.path(), &job, json!({"phase": "Processing", "attempts": [attempt]}));
    service.jobs().delete(id, &Default::default()).await.unwrap();
    let is_failed =
        async |response: reqwest::Response| response.json::<Value>().await.unwrap()["status"] == "failed";
    service.wait_for(&format!("{path}/status"), is_failed).await;
    let failed = problem(service.get(&format!("{path}/result")), 502, "job_failed").await;
    let error = json!({"code": "job_failed", "reason": "OutOfMemory", "message": "the memory did not suffice", "retryable": true});
    assert_eq!(failed["job_error"], error);

    // Whatever lies where the record should be.
    let mut foreign = job.clone();
    foreign.metadata.name = Some("gj-00000000000000000000000000".into());
    keep_record(service.folder.path(), &foreign, json!({}));
    let archive = service.folder.path().join("outputs/archive").join(service.namespace.name());
    let record = archive.join(format!("{id}.json"));
    std::fs::rename(archive.join("gj-00000000000000000000000000.json"), &record).unwrap();
    problem(service.get(&path), 404, "job_not_found").await;
    std::fs::write(&record, "{").unwrap();
    problem(service.get(&path), 500, "internal").await;
    service.stop().await;
}
