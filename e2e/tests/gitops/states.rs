//! What the tools make of the statuses that the operator writes.

use anyhow::Result;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use trellis_crds::conditions::{self, READY, SCHEDULED, STALLED, SUSPENDED};
use trellis_crds::{GenerationJob, Phase, WorkerPool, labels};
use trellis_e2e::kubelet::set_pod_status;

use crate::fixture::Fixture;
use crate::gallery::Gallery;
use crate::workers::Workers;

/// kstatus and Argo CD agree but where a job is suspended, which kstatus has no word for.
const PROGRESSING: [&str; 2] = ["InProgress", "Progressing"];
const SUSPENDED_BY_USER: [&str; 2] = ["InProgress", "Suspended"];
const DONE: [&str; 2] = ["Current", "Healthy"];
const BROKEN: [&str; 2] = ["Failed", "Degraded"];

fn reason_of(job: &GenerationJob, kind: &str) -> String {
    let conditions = job.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions::get(conditions, kind).map_or_else(String::new, |condition| condition.reason.clone())
}

fn reason_of_ready(pool: &WorkerPool) -> &str {
    let conditions = pool.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions::get(conditions, READY).map_or("", |condition| &condition.reason)
}

fn holds(pool: &WorkerPool, kind: &str) -> bool {
    pool.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, kind))
}

#[tokio::test]
async fn a_job_is_in_progress_until_it_is_completed_or_has_failed() -> Result<()> {
    let fixture = Fixture::new("kstatus-job").await?;
    let mut gallery = Gallery::new("GenerationJob");
    let new = fixture.create_job("cup", "hold", json!({})).await?;
    gallery.add("nobody has looked at it", &new, PROGRESSING)?;

    let operator = fixture.operator("operator-1");
    let no_pool =
        fixture.job("cup", "told that there is no pool", |job| reason_of(job, SCHEDULED) == "NoPool").await?;
    gallery.add("waits for a pool", &no_pool, PROGRESSING)?;

    let workers = Workers::start(&fixture.namespace);
    fixture.create_pool(json!({"replicas": {"max": 1}})).await?;
    gallery.add("a worker runs it", &fixture.job_in("cup", Phase::Processing).await?, PROGRESSING)?;
    fixture.create_job("plate", "hold", json!({})).await?;
    let queued =
        fixture.job("plate", "in the queue", |job| reason_of(job, SCHEDULED) == "NoIdleWorker").await?;
    gallery.add("waits for a worker", &queued, PROGRESSING)?;

    fixture.patch_job("cup", json!({"suspend": true})).await?;
    let suspended = fixture.job("cup", "suspended", |job| reason_of(job, SUSPENDED) == "Suspended").await?;
    gallery.add("suspended", &suspended, SUSPENDED_BY_USER)?;
    fixture.patch_job("plate", json!({"cancel": true})).await?;
    gallery.add("cancelled", &fixture.job_in("plate", Phase::Cancelled).await?, BROKEN)?;

    fixture.create_job("bowl", "transient", json!({"backoffLimit": 5})).await?;
    let retried = fixture.job("bowl", "backing off", |job| reason_of(job, SCHEDULED) == "BackingOff").await?;
    gallery.add("waits for its next attempt", &retried, PROGRESSING)?;
    fixture.create_job("vase", "invalid", json!({})).await?;
    fixture.job("vase", "dead-lettered", |job| job.labels().contains_key(labels::DEAD_LETTER)).await?;
    gallery.add("failed", &fixture.job_in("vase", Phase::Failed).await?, BROKEN)?;

    fixture.create_job("jug", "complete", json!({})).await?;
    gallery.add("completed", &fixture.job_in("jug", Phase::Completed).await?, DONE)?;
    operator.stop().await?;
    fixture.patch_job("jug", json!({"ttlSecondsAfterFinished": 3600})).await?;
    gallery.add("changed since", &fixture.jobs().get("jug").await?, PROGRESSING)?;
    let operator = fixture.operator("operator-2");
    let seen =
        |job: &GenerationJob| job.status.as_ref().and_then(|status| status.observed_generation) == Some(2);
    gallery.add("its change was seen", &fixture.job("jug", "seen", seen).await?, DONE)?;

    operator.stop().await?;
    drop(workers);
    gallery.judge().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn a_pool_is_current_while_it_can_serve_and_failed_while_it_cannot() -> Result<()> {
    let fixture = Fixture::new("kstatus-pool").await?;
    let mut gallery = Gallery::new("WorkerPool");
    let new = fixture
        .create_pool(json!({"template": {
            "metadata": {"labels": {"start": "never"}},
            "spec": {"containers": [{"name": "worker", "image": "worker:test"}]},
        }}))
        .await?;
    gallery.add("nobody has looked at it", &new, PROGRESSING)?;

    let operator = fixture.operator("operator-1");
    let zero = fixture.pool("scaled to zero", |pool| holds(pool, READY)).await?;
    gallery.add("needs no worker", &zero, DONE)?;

    let min = json!({"spec": {"replicas": {"min": 1}}});
    fixture.pools().patch("image", &PatchParams::default(), &Patch::Merge(min)).await?;
    let starting = fixture
        .pool("starting", |pool| pool.status.as_ref().is_some_and(|status| status.starting == 1))
        .await?;
    gallery.add("its first worker starts", &starting, PROGRESSING)?;

    let pod = fixture.worker_pods(1).await?.remove(0).metadata.name.unwrap_or_default();
    let unplaced =
        json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    set_pod_status(&fixture.pods(), &pod, unplaced).await?;
    let unplaced = fixture.pool("without a node", |pool| reason_of_ready(pool) == "PodsNotStarting").await?;
    gallery.add("an autoscaler may bring its worker a node", &unplaced, PROGRESSING)?;
    let waiting = json!({"phase": "Pending", "conditions": [], "containerStatuses": [{
        "name": "worker", "image": "worker:test", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
    }]});
    set_pod_status(&fixture.pods(), &pod, waiting).await?;
    let stalled = fixture.pool("stalled", |pool| holds(pool, STALLED)).await?;
    gallery.add("its worker cannot start", &stalled, BROKEN)?;

    let ready = json!({"phase": "Running", "containerStatuses": null, "conditions": [{"type": "Ready", "status": "True"}]});
    set_pod_status(&fixture.pods(), &pod, ready).await?;
    let idle =
        fixture.pool("ready", |pool| pool.status.as_ref().is_some_and(|status| status.idle == 1)).await?;
    gallery.add("its worker is ready", &idle, DONE)?;

    fixture.pools().delete("image", &DeleteParams::foreground()).await?;
    gallery.add("is being deleted", &fixture.pools().get("image").await?, ["Terminating", "Progressing"])?;
    operator.stop().await?;
    gallery.judge().await?;
    fixture.namespace.delete().await
}
