//! The operator against a real API server, with workers that are played.

mod fixture;
mod pressure;
mod workers;

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use trellis_crds::conditions::{self, READY, SCHEDULED, STALLED, SUSPENDED};
use trellis_crds::{EXIT_NO_MODEL, FailureReason, GenerationJob, Outcome, Phase, WorkerPool, labels};
use trellis_e2e::kubelet::set_pod_status;

use fixture::Fixture;

fn is_idle(pool: &WorkerPool) -> bool {
    pool.status.as_ref().is_some_and(|status| status.idle == 1 && status.busy == 0)
}

fn reason_of(job: &GenerationJob, kind: &str) -> Option<String> {
    conditions::get(&job.status.as_ref()?.conditions, kind).map(|condition| condition.reason.clone())
}

#[tokio::test]
async fn a_warm_job_costs_five_writes() -> Result<()> {
    let (fixture, operator, _workers) =
        Fixture::running("budget", json!({"replicas": {"min": 1, "max": 1}})).await?;
    fixture.pool("idle", is_idle).await?;
    let before = fixture.writes()?.len();
    fixture.create_job("cup", "complete", json!({})).await?;
    fixture.job_in("cup", Phase::Completed).await?;
    fixture.event("cup", "Completed").await?;
    fixture.jobs().delete("cup", &DeleteParams::default()).await?;
    assert!(fixture.jobs().get_opt("cup").await?.is_none(), "no finalizer keeps it");
    operator.stop().await?;
    let mut writes = fixture.writes()?.split_off(before);
    // The audit log does not order writes of two clients that end at about the same time.
    writes.sort();
    let expected = [
        "create events cup",
        "create generationjobs cup",
        "delete generationjobs cup",
        "update generationjobs/status cup",
        "update generationjobs/status cup",
    ];
    assert_eq!(writes, expected);
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_settled_job_costs_no_write_also_after_a_restart() -> Result<()> {
    let (fixture, operator, _workers) =
        Fixture::running("settled", json!({"replicas": {"min": 1, "max": 1}})).await?;
    fixture.create_job("cup", "complete", json!({})).await?;
    fixture.create_job("plate", "invalid", json!({})).await?;
    fixture.event("cup", "Completed").await?;
    fixture.job("plate", "dead-lettered", |job| job.labels().contains_key(labels::DEAD_LETTER)).await?;
    fixture.event("plate", "Failed").await?;
    let before = (fixture.writes_about("cup")?, fixture.writes_about("plate")?);
    operator.stop().await?;
    let operator = fixture.operator("operator-2");
    // When the new process has done this, it has long looked at the older jobs.
    fixture.create_job("later", "complete", json!({})).await?;
    fixture.event("later", "Completed").await?;
    operator.stop().await?;
    assert_eq!((fixture.writes_about("cup")?, fixture.writes_about("plate")?), before);
    assert_eq!(fixture.event("cup", "Completed").await?.len(), 1);
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_burst_of_jobs_never_gives_a_worker_two_at_once() -> Result<()> {
    let (fixture, operator, workers) =
        Fixture::running("burst", json!({"replicas": {"min": 3, "max": 3}})).await?;
    let names: Vec<_> = (0..40).map(|n| format!("job-{n:02}")).collect();
    try_join_all(names.iter().map(|name| fixture.create_job(name, "complete", json!({})))).await?;
    for name in &names {
        fixture.job_in(name, Phase::Completed).await?;
    }
    operator.stop().await?;
    let log = workers.log();
    assert_eq!(log.clashes, Vec::<String>::new());
    assert_eq!(log.begun.len(), 40, "{:?}", log.begun);
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_lost_worker_costs_no_attempt() -> Result<()> {
    let (fixture, operator, _workers) = Fixture::running("lost", json!({"replicas": {"max": 1}})).await?;
    fixture.create_job("cup", "hold", json!({"backoffLimit": 0})).await?;
    let first = fixture.job_in("cup", Phase::Processing).await?.assignment().unwrap().clone();
    fixture.delete_pod(&first.worker).await?;
    let again = fixture
        .job("cup", "on its second attempt", |job| job.assignment().is_some_and(|at| at.attempt == 2))
        .await?;
    let status = again.status.unwrap();
    assert_ne!(status.assignment.unwrap().pod_uid, first.pod_uid);
    assert_eq!((status.failures, status.attempts.len()), (0, 1));
    assert_eq!(status.attempts[0].outcome, Outcome::Lost);
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_worker_out_of_memory_is_a_failed_attempt_and_gets_replaced() -> Result<()> {
    let (fixture, operator, _workers) = Fixture::running("memory", json!({"replicas": {"max": 1}})).await?;
    fixture.create_job("cup", "hold", json!({"backoffLimit": 0})).await?;
    fixture.create_job("plate", "complete", json!({})).await?;
    let held = fixture.job_in("cup", Phase::Processing).await?;
    let killed = json!({"phase": "Failed", "containerStatuses": [{
        "name": "worker", "image": "worker:test", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]});
    set_pod_status(&fixture.pods(), &held.assignment().unwrap().worker, killed).await?;
    let failed = fixture.job_in("cup", Phase::Failed).await?.status.unwrap();
    assert_eq!(failed.attempts[0].reason, Some(FailureReason::OutOfMemory));
    assert_eq!(failed.error.unwrap().code, "OutOfMemory");
    fixture.job_in("plate", Phase::Completed).await?;
    fixture.event("image", "WorkerFailed").await?;
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_deleted_or_cancelled_job_frees_its_worker() -> Result<()> {
    let (fixture, operator, workers) = Fixture::running("free", json!({"replicas": {"max": 1}})).await?;
    fixture.create_job("one", "hold", json!({"priority": 2})).await?;
    fixture.job_in("one", Phase::Processing).await?;
    fixture.create_job("two", "hold", json!({"priority": 1})).await?;
    fixture.create_job("three", "complete", json!({})).await?;
    fixture.jobs().delete("one", &DeleteParams::default()).await?;
    fixture.job_in("two", Phase::Processing).await?;
    fixture.patch_job("two", json!({"cancel": true})).await?;
    fixture.job_in("three", Phase::Completed).await?;
    assert_eq!(fixture.jobs().get("two").await?.phase(), Phase::Cancelled);
    assert_eq!(
        fixture.pods().list(&ListParams::default()).await?.items.len(),
        1,
        "one worker served them all"
    );
    // Where the workers' first list is late they never see the first ones.
    assert_eq!(workers.log().begun.last().map(String::as_str), Some("three"));
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn failures_back_off_and_run_out_of_retries() -> Result<()> {
    let (fixture, operator, _workers) = Fixture::running("retries", json!({"replicas": {"max": 1}})).await?;
    fixture.create_job("cup", "transient", json!({"backoffLimit": 1})).await?;
    let failed = fixture.job_in("cup", Phase::Failed).await?;
    let status = failed.status.as_ref().unwrap();
    let [first, second] = status.attempts.as_slice() else { panic!("{:?}", status.attempts) };
    assert_eq!((status.failures, first.number, second.number), (2, 1, 2));
    let pause = second.start.0.duration_since(first.end.0);
    assert!(pause >= SignedDuration::from_millis(2500), "the second attempt came after {pause}");
    let error = status.error.as_ref().unwrap();
    assert_eq!((error.code.as_str(), error.retryable), ("Transient", true));
    assert_eq!(reason_of(&failed, STALLED).as_deref(), Some("OutOfRetries"));
    fixture.job("cup", "dead-lettered", |job| job.labels().contains_key(labels::DEAD_LETTER)).await?;
    fixture.event("cup", "Retrying").await?;
    fixture.event("cup", "Failed").await?;
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_job_that_failed_for_good_is_tried_again_by_one_label() -> Result<()> {
    let (fixture, operator, workers) = Fixture::running("again", json!({"replicas": {"max": 1}})).await?;
    fixture.create_job("cup", "invalid", json!({})).await?;
    fixture.job("cup", "dead-lettered", |job| job.labels().contains_key(labels::DEAD_LETTER)).await?;
    let retry = json!({"metadata": {"labels": {
        labels::DEAD_LETTER: labels::DEAD_LETTER_RETRY, "play": "complete",
    }}});
    fixture.jobs().patch("cup", &PatchParams::default(), &Patch::Merge(retry)).await?;
    let done = fixture.job_in("cup", Phase::Completed).await?;
    assert_eq!(done.assignment().unwrap().attempt, 2);
    assert!(!done.labels().contains_key(labels::DEAD_LETTER));
    let attempts = &done.status.as_ref().unwrap().attempts;
    assert!(attempts.len() == 2 && attempts[0].message.is_some(), "the record is lost: {attempts:?}");
    assert_eq!(workers.log().begun, ["cup", "cup"]);
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn an_invalid_input_is_not_tried_again() -> Result<()> {
    let (fixture, operator, workers) = Fixture::running("invalid", json!({"replicas": {"max": 1}})).await?;
    fixture.create_job("cup", "invalid", json!({"backoffLimit": 20})).await?;
    let failed = fixture.job_in("cup", Phase::Failed).await?;
    let error = failed.status.unwrap().error.unwrap();
    assert_eq!((error.code.as_str(), error.retryable), ("InvalidInput", false));
    assert_eq!(workers.log().begun, ["cup"]);
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_pool_scales_from_zero_to_its_limit_and_back_after_idling() -> Result<()> {
    let pool = json!({"replicas": {"min": 0, "max": 2}, "idleSeconds": 1});
    let (fixture, operator, _workers) = Fixture::running("scale", pool).await?;
    fixture
        .pool("scaled to zero", |pool| {
            pool.status.as_ref().is_some_and(|status| !status.conditions.is_empty())
        })
        .await?;
    for name in ["one", "two", "three"] {
        fixture.create_job(name, "hold", json!({})).await?;
    }
    let pods = fixture.worker_pods(2).await?;
    let worker = &pods[0].spec.as_ref().unwrap();
    assert_eq!(worker.service_account_name.as_deref(), Some("worker"));
    assert_eq!(pods[0].labels()[labels::POOL], "image");
    fixture
        .pool("busy", |pool| {
            pool.status.as_ref().is_some_and(|status| status.busy == 2 && status.queued == 1)
        })
        .await?;
    for name in ["one", "two", "three"] {
        fixture.jobs().delete(name, &DeleteParams::default()).await?;
    }
    fixture.worker_pods(0).await?;
    fixture.event("image", "ScaledUp").await?;
    fixture.event("image", "ScaledDown").await?;
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_worker_with_a_limit_of_one_job_serves_one() -> Result<()> {
    let pool = json!({"replicas": {"max": 1}, "maxJobsPerWorker": 1});
    let (fixture, operator, _workers) = Fixture::running("limit", pool).await?;
    let mut served = Vec::new();
    for name in ["one", "two"] {
        fixture.create_job(name, "complete", json!({})).await?;
        let done = fixture.job_in(name, Phase::Completed).await?;
        served.push(done.assignment().unwrap().pod_uid.clone());
    }
    assert_ne!(served[0], served[1]);
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_new_template_replaces_a_busy_worker_when_it_is_done() -> Result<()> {
    let pool = json!({"replicas": {"min": 1, "max": 1}});
    let (fixture, operator, _workers) = Fixture::running("rollout", pool).await?;
    fixture.create_job("cup", "hold", json!({})).await?;
    let old = fixture.job_in("cup", Phase::Processing).await?.assignment().unwrap().worker.clone();
    let template = json!({"spec": {"containers": [{"name": "worker", "image": "worker:next"}]}});
    fixture.patch_pool(json!({"template": template})).await?;
    let pods = fixture.worker_pods(2).await?;
    assert!(pods.iter().any(|pod| pod.name_any() == old), "it has a job");
    fixture.create_job("plate", "complete", json!({})).await?;
    let plate = fixture.job_in("plate", Phase::Completed).await?;
    assert_ne!(plate.assignment().unwrap().worker, old);
    fixture.jobs().delete("cup", &DeleteParams::default()).await?;
    let pods = fixture.worker_pods(1).await?;
    assert_ne!(pods[0].name_any(), old);
    fixture.pool("settled", is_idle).await?;
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn kubectl_scale_sets_how_many_workers_are_kept() -> Result<()> {
    let (fixture, operator, _workers) = Fixture::running("kept", json!({"replicas": {"max": 3}})).await?;
    let scale = json!({"spec": {"replicas": 2}});
    fixture.pools().patch_scale("image", &PatchParams::default(), &Patch::Merge(scale)).await?;
    fixture.worker_pods(2).await?;
    let scaled = fixture.pools().get_scale("image").await?;
    fixture.pool("of two", |pool| pool.status.as_ref().is_some_and(|status| status.replicas == 2)).await?;
    assert_eq!(scaled.spec.and_then(|spec| spec.replicas), Some(2));
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_pool_of_a_kueue_queue_labels_its_pods_and_waits_for_quota() -> Result<()> {
    let pool = json!({"replicas": {"max": 1}, "queueName": "gpus", "template": {
        "metadata": {"labels": {"start": "never"}},
        "spec": {
            "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}],
            "containers": [{"name": "worker", "image": "worker:test"}],
        },
    }});
    let (fixture, operator, _workers) = Fixture::running("kueue", pool).await?;
    fixture.create_job("cup", "complete", json!({})).await?;
    let pod = fixture.worker_pods(1).await?.remove(0);
    assert_eq!(pod.labels()["kueue.x-k8s.io/queue-name"], "gpus");
    let told = |job: &GenerationJob| reason_of(job, SCHEDULED).as_deref() == Some("WaitingForQuota");
    fixture.job("cup", "told that it waits for quota", told).await?;
    let pool = fixture.pool("waiting for quota", |pool| says(pool, READY, false, "WaitingForQuota")).await?;
    assert!(!conditions::is_true(&pool.status.unwrap().conditions, STALLED));
    operator.stop().await?;
    fixture.namespace.delete().await
}

fn says(pool: &WorkerPool, kind: &str, holds: bool, reason: &str) -> bool {
    let conditions = pool.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions::get(conditions, kind).is_some_and(|found| found.reason == reason)
        && conditions::is_true(conditions, kind) == holds
}

#[tokio::test]
async fn jobs_wait_when_workers_fail_at_one_after_another_also_after_a_restart() -> Result<()> {
    let pool = json!({"replicas": {"min": 1, "max": 1}});
    let (fixture, operator, workers) = Fixture::running("circuit", pool).await?;
    for name in ["a", "b", "c", "d", "e"] {
        fixture.create_job(name, "internal", json!({"backoffLimit": 0})).await?;
        fixture.job_in(name, Phase::Failed).await?;
    }
    fixture.event("image", "CircuitOpened").await?;
    let open = fixture.pool("held back", |pool| says(pool, READY, false, "CircuitOpen")).await?;
    assert_eq!(open.status.unwrap().circuit.unwrap().openings, 1);
    operator.stop().await?;
    let operator = fixture.operator("operator-2");
    fixture.create_job("cup", "complete", json!({})).await?;
    let told = |job: &GenerationJob| reason_of(job, SCHEDULED).as_deref() == Some("CircuitOpen");
    fixture.job("cup", "told that it waits for a worker that works", told).await?;
    assert_eq!(workers.log().begun.len(), 5, "{:?}", workers.log().begun);
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_named_to_pool_and_jobs() -> Result<()> {
    let pool = json!({"replicas": {"max": 1}, "template": {
        "metadata": {"labels": {"start": "never"}},
        "spec": {"containers": [{"name": "worker", "image": "worker:test"}]},
    }});
    let (fixture, operator, _workers) = Fixture::running("model", pool).await?;
    fixture.create_job("cup", "complete", json!({})).await?;
    let pod = fixture.worker_pods(1).await?.remove(0);
    let missing = "gs://models/tiny/pipeline.json is not there";
    let ended = json!({"phase": "Failed", "containerStatuses": [{
        "name": "worker", "image": "worker:test", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": EXIT_NO_MODEL, "reason": "Error", "message": missing}},
    }]});
    set_pod_status(&fixture.pods(), &pod.name_any(), ended).await?;
    let told = |job: &GenerationJob| reason_of(job, SCHEDULED).as_deref() == Some("ModelNotLoaded");
    let job = fixture.job("cup", "told that the model is missing", told).await?;
    let message = &conditions::get(&job.status.unwrap().conditions, SCHEDULED).unwrap().message.clone();
    assert!(message.contains(missing), "{message}");
    fixture.pool("stalled", |pool| says(pool, STALLED, true, "ModelNotLoaded")).await?;
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn jobs_learn_why_workers_cannot_start() -> Result<()> {
    let pool = json!({"replicas": {"max": 1}, "template": {
        "metadata": {"labels": {"start": "never"}},
        "spec": {"containers": [{"name": "worker", "image": "worker:test"}]},
    }});
    let (fixture, operator, _workers) = Fixture::running("stuck", pool).await?;
    fixture.create_job("cup", "complete", json!({})).await?;
    let pod = fixture.worker_pods(1).await?.remove(0);
    let unplaced = json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes have nvidia.com/gpu",
    }]});
    set_pod_status(&fixture.pods(), &pod.name_any(), unplaced).await?;
    let told = |job: &GenerationJob| reason_of(job, SCHEDULED).as_deref() == Some("PodsNotStarting");
    let job = fixture.job("cup", "told why it waits", told).await?;
    let message = &conditions::get(&job.status.unwrap().conditions, SCHEDULED).unwrap().message.clone();
    assert!(message.contains("Unschedulable") && message.contains("0/3 nodes"), "{message}");
    fixture.pool("told too", |pool| says(pool, READY, false, "PodsNotStarting")).await?;
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_job_without_a_pool_says_what_to_do_and_runs_once_there_is_one() -> Result<()> {
    let fixture = Fixture::new("no-pool").await?;
    let _workers = workers::Workers::start(&fixture.namespace);
    let operator = fixture.operator("operator-1");
    fixture.create_job("cup", "complete", json!({})).await?;
    let told = |job: &GenerationJob| reason_of(job, SCHEDULED).as_deref() == Some("NoPool");
    fixture.job("cup", "told that there is no pool", told).await?;
    fixture.create_pool(json!({})).await?;
    fixture.job_in("cup", Phase::Completed).await?;
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_suspended_job_waits_until_it_is_resumed() -> Result<()> {
    let (fixture, operator, workers) =
        Fixture::running("suspend", json!({"replicas": {"min": 1, "max": 1}})).await?;
    fixture.create_job("held", "complete", json!({"suspend": true, "priority": 9})).await?;
    let suspended = |job: &GenerationJob| reason_of(job, SUSPENDED).as_deref() == Some("Suspended");
    fixture.job("held", "suspended", suspended).await?;
    fixture.create_job("other", "complete", json!({})).await?;
    fixture.job_in("other", Phase::Completed).await?;
    assert_eq!(workers.log().begun, ["other"]);
    fixture.patch_job("held", json!({"suspend": false})).await?;
    let done = fixture.job_in("held", Phase::Completed).await?;
    assert_eq!(reason_of(&done, SUSPENDED).as_deref(), Some("Resumed"));
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn the_higher_priority_goes_first() -> Result<()> {
    let (fixture, operator, workers) = Fixture::running("priority", json!({"replicas": {"max": 1}})).await?;
    fixture.create_job("first", "hold", json!({})).await?;
    fixture.job_in("first", Phase::Processing).await?;
    for (name, priority) in [("low", -1), ("high", 1), ("middle", 0)] {
        fixture.create_job(name, "complete", json!({"priority": priority})).await?;
        fixture.job(name, "in the queue", |job| reason_of(job, SCHEDULED).is_some()).await?;
    }
    fixture.jobs().delete("first", &DeleteParams::default()).await?;
    fixture.job_in("low", Phase::Completed).await?;
    assert_eq!(workers.log().begun, ["first", "high", "middle", "low"]);
    operator.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_job_is_deleted_when_its_time_to_live_is_over() -> Result<()> {
    let (fixture, operator, _workers) = Fixture::running("ttl", json!({})).await?;
    fixture.create_job("cup", "complete", json!({"ttlSecondsAfterFinished": 1})).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while fixture.jobs().get_opt("cup").await?.is_some() {
        assert!(Instant::now() < deadline, "the job is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    operator.stop().await?;
    fixture.namespace.delete().await
}

async fn wait_for_leader(fixture: &Fixture, replica: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let lease = fixture.namespace.api::<Lease>().get_opt("operator").await?;
        let holder = lease.and_then(|lease| lease.spec?.holder_identity);
        if holder.as_deref() == Some(replica) {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "{holder:?} holds the Lease instead of {replica}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_standby_takes_over_at_once_and_what_runs_goes_on() -> Result<()> {
    let (fixture, first, workers) = Fixture::running("standby", json!({"replicas": {"max": 1}})).await?;
    wait_for_leader(&fixture, "operator-1").await?;
    let second = fixture.operator("operator-2");
    fixture.create_job("running", "hold", json!({})).await?;
    fixture.job_in("running", Phase::Processing).await?;
    let start = Instant::now();
    first.stop().await?;
    wait_for_leader(&fixture, "operator-2").await?;
    // Below the 6 s that a Lease lasts which nobody releases.
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    fixture.create_job("next", "complete", json!({})).await?;
    fixture.job("next", "in the queue", |job| reason_of(job, SCHEDULED).is_some()).await?;
    assert_eq!(fixture.jobs().get("running").await?.phase(), Phase::Processing);
    fixture.jobs().delete("running", &DeleteParams::default()).await?;
    fixture.job_in("next", Phase::Completed).await?;
    assert_eq!(workers.log().clashes, Vec::<String>::new());
    second.stop().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_standby_takes_over_from_a_leader_that_died() -> Result<()> {
    let (fixture, first, _workers) = Fixture::running("died", json!({"replicas": {"max": 1}})).await?;
    wait_for_leader(&fixture, "operator-1").await?;
    let second = fixture.operator("operator-2");
    first.kill().await;
    fixture.create_job("cup", "complete", json!({})).await?;
    fixture.job_in("cup", Phase::Completed).await?;
    second.stop().await?;
    fixture.namespace.delete().await
}

/// From the death of a leader until the other replica assigns a job that was created right after it.
#[tokio::test]
#[ignore = "a measurement: run with --ignored --nocapture"]
async fn how_long_a_job_waits_when_a_leader_dies() -> Result<()> {
    let (fixture, mut leader, _workers) =
        Fixture::running("fail-over", json!({"replicas": {"min": 1, "max": 1}})).await?;
    fixture.pool("idle", is_idle).await?;
    let mut waits = Vec::new();
    for n in 1..=10 {
        wait_for_leader(&fixture, &format!("operator-{n}")).await?;
        let standby = fixture.operator(&format!("operator-{}", n + 1));
        let before = format!("before-{n}");
        fixture.create_job(&before, "complete", json!({})).await?;
        fixture.job_in(&before, Phase::Completed).await?;
        // The standby has seen the Lease by now, and the leader renews it at some time in between.
        tokio::time::sleep(Duration::from_millis(2000 + 150 * n)).await;
        let start = Instant::now();
        leader.kill().await;
        let name = format!("job-{n}");
        fixture.create_job(&name, "complete", json!({})).await?;
        fixture.job(&name, "assigned", |job| job.assignment().is_some()).await?;
        waits.push(start.elapsed());
        leader = standby;
    }
    waits.sort_unstable();
    println!("kill to the next assignment: median {:?}, most {:?}", waits[5], waits[9]);
    leader.stop().await?;
    fixture.namespace.delete().await
}

/// From the creation of a job until a worker sees its assignment, one job at a time.
#[tokio::test]
#[ignore = "a measurement: run with --ignored --nocapture"]
async fn how_long_an_assignment_takes() -> Result<()> {
    let (fixture, operator, _workers) =
        Fixture::running("latency", json!({"replicas": {"min": 1, "max": 1}})).await?;
    fixture.pool("idle", is_idle).await?;
    let before = fixture.writes()?.len();
    let mut latencies = Vec::new();
    for n in 0..200 {
        let name = format!("job-{n:03}");
        let created = k8s_openapi::jiff::Timestamp::now();
        fixture.create_job(&name, "complete", json!({})).await?;
        let done = fixture.job_in(&name, Phase::Completed).await?;
        let assigned = done.assignment().unwrap().time.0.duration_since(created);
        let completed =
            done.status.as_ref().unwrap().completion_time.as_ref().unwrap().0.duration_since(created);
        latencies.push((assigned.as_millis(), completed.as_millis()));
        fixture.jobs().delete(&name, &DeleteParams::default()).await?;
    }
    let writes = fixture.writes()?.len() - before;
    operator.stop().await?;
    let percentile = |of: &dyn Fn(&(i128, i128)) -> i128, percent: usize| {
        let mut values: Vec<_> = latencies.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() * percent / 100]
    };
    let (assign, report) = (|pair: &(i128, i128)| pair.0, |pair: &(i128, i128)| pair.1);
    println!("create to assignment: p50 {} ms, p95 {} ms", percentile(&assign, 50), percentile(&assign, 95));
    println!(
        "create to report seen by the worker: p50 {} ms, p95 {} ms",
        percentile(&report, 50),
        percentile(&report, 95)
    );
    println!("writes per job: {:.2}", writes as f64 / 200.0);
    fixture.namespace.delete().await
}

/// Many jobs, many workers: how many jobs a second.
#[tokio::test]
#[ignore = "a measurement: run with --ignored --nocapture"]
async fn how_fast_a_queue_drains() -> Result<()> {
    let (fixture, operator, workers) =
        Fixture::running("drain", json!({"replicas": {"min": 32, "max": 32}})).await?;
    fixture.worker_pods(32).await?;
    let names: Vec<_> = (0..1000).map(|n| format!("job-{n:04}")).collect();
    let start = Instant::now();
    for chunk in names.chunks(50) {
        try_join_all(chunk.iter().map(|name| fixture.create_job(name, "complete", json!({})))).await?;
    }
    println!("1000 jobs created in {:?}", start.elapsed());
    for name in &names {
        fixture.job_in(name, Phase::Completed).await?;
    }
    println!("1000 jobs done in {:?}", start.elapsed());
    assert_eq!(workers.log().clashes, Vec::<String>::new());
    operator.stop().await?;
    fixture.namespace.delete().await
}
