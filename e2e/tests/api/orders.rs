//! Cancelling jobs, and having them tried again.

use reqwest::StatusCode;
use serde_json::{Value, json};
use trellis_crds::InputKind;

use crate::service::{Service, body, completed, keep_record, problem};

#[tokio::test]
async fn a_job_is_cancelled_once() {
    let service = Service::start("cancel", &[InputKind::Image]).await;
    let id = service.submit().await;
    let path = format!("/api/v1/jobs/{id}/cancel");
    let cancel = tokio::spawn(service.post(&path).send());
    service.wait_for_object(&id, |job| job.spec.cancel).await;
    service.set_status(&id, json!({"phase": "Cancelled"})).await;
    let cancelled = body(cancel.await.unwrap().unwrap(), StatusCode::OK).await;
    assert_eq!((&cancelled["id"], &cancelled["status"]), (&json!(id), &json!("cancelled")));
    assert_eq!(body(service.post(&path).send().await.unwrap(), StatusCode::OK).await, cancelled);

    let id = service.submit().await;
    let path = format!("/api/v1/jobs/{id}/cancel");
    let bob = reqwest::Client::new().post(format!("{}{path}", service.url)).bearer_auth(&service.bob);
    problem(bob, 404, "job_not_found").await;
    service.set_status(&id, json!({"phase": "Failed"})).await;
    assert_eq!(problem(service.post(&path), 409, "job_ended").await["job_status"], "failed");
    assert!(!service.jobs().get(&id).await.unwrap().spec.cancel);
    service.stop().await;
}

#[tokio::test]
async fn a_job_that_completes_before_it_is_cancelled_has_ended() {
    let service = Service::start("too-late", &[InputKind::Image]).await;
    let id = service.submit().await;
    let cancel = service.post(&format!("/api/v1/jobs/{id}/cancel"));
    let late = tokio::spawn(async move { problem(cancel, 409, "job_ended").await });
    let job = service.wait_for_object(&id, |job| job.spec.cancel).await;
    service.set_status(&id, completed(service.folder.path(), &job, b"glTF")).await;
    assert_eq!(late.await.unwrap()["job_status"], "completed");
    service.stop().await;
}

#[tokio::test]
async fn a_failed_job_is_tried_again() {
    let service = Service::start("retry", &[InputKind::Image]).await;
    let id = service.submit().await;
    let path = format!("/api/v1/jobs/{id}/retry");
    assert_eq!(problem(service.post(&path), 409, "job_not_failed").await["job_status"], "pending");
    service.set_status(&id, json!({"phase": "Failed"})).await;

    // Not before the operator has set the label, which would otherwise be set over ours.
    let retry = tokio::spawn(service.post(&path).send());
    let label = |value: &str| json!({"metadata": {"labels": {"trellis3d.dev/dead-letter": value}}});
    service.patch(&id, &label("true")).await;
    let is_retried = |job: &trellis_crds::GenerationJob| {
        job.metadata
            .labels
            .as_ref()
            .unwrap()
            .get("trellis3d.dev/dead-letter")
            .is_some_and(|value| value == "retry")
    };
    service.wait_for_object(&id, is_retried).await;
    service.set_status(&id, json!({"phase": "Pending"})).await;
    let accepted = body(retry.await.unwrap().unwrap(), StatusCode::ACCEPTED).await;
    assert_eq!((&accepted["id"], &accepted["status"]), (&json!(id), &json!("pending")));

    // Of a job that is gone only the record is left.
    let job = service.jobs().get(&id).await.unwrap();
    let time = "2026-11-24T07:00:00.000000Z";
    let attempt = json!({
        "number": 1, "worker": "a", "start": time, "end": time, "outcome": "Failed", "reason": "Internal", "message": "no",
    });
    keep_record(service.folder.path(), &job, json!({"phase": "Processing", "attempts": [attempt]}));
    service.jobs().delete(&id, &Default::default()).await.unwrap();
    let has_failed =
        async |response: reqwest::Response| response.json::<Value>().await.unwrap()["status"] == "failed";
    service.wait_for(&format!("/api/v1/jobs/{id}/status"), has_failed).await;
    assert_eq!(problem(service.post(&path), 409, "job_not_failed").await["job_status"], "failed");
    service.stop().await;
}
