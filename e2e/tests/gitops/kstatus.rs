//! kstatus, by which Flux and others know whether an object is what it should be:
//! <https://github.com/kubernetes-sigs/cli-utils/tree/v0.37.2/pkg/kstatus>.

use std::process::Command;

use anyhow::Result;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde::Serialize;
use serde_json::json;
use trellis_crds::conditions::{self, READY, SCHEDULED, STALLED, SUSPENDED};
use trellis_crds::{GenerationJob, Phase, WorkerPool, labels};
use trellis_e2e::tools;

use crate::fixture::Fixture;
use crate::pipe::pipe;
use crate::workers::set_pod_status;

/// Objects in the states that matter, and what kstatus should make of each.
#[derive(Default)]
struct Gallery {
    objects: String,
    expected: Vec<String>,
}

impl Gallery {
    fn add(&mut self, what: &str, object: &impl Serialize, verdict: &str) -> Result<()> {
        self.objects += &serde_json::to_string(object)?;
        self.expected.push(format!("{what}: {verdict}"));
        Ok(())
    }

    /// Compares the verdicts of the real kstatus with those that are expected.
    async fn judge(self) -> Result<()> {
        let program = tokio::task::spawn_blocking(|| tools::path("kstatus")).await??;
        let said = pipe(&mut Command::new(program), &self.objects)?;
        let verdicts = said.lines().map(|line| line.split('\t').next().unwrap_or_default());
        let names = self.expected.iter().map(|expected| expected.split(':').next().unwrap_or_default());
        let found: Vec<String> =
            names.zip(verdicts).map(|(name, verdict)| format!("{name}: {verdict}")).collect();
        assert_eq!(found, self.expected, "{said}");
        Ok(())
    }
}

fn reason_of(job: &GenerationJob, kind: &str) -> String {
    let conditions = job.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions::get(conditions, kind).map_or_else(String::new, |condition| condition.reason.clone())
}

fn holds(pool: &WorkerPool, kind: &str) -> bool {
    pool.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, kind))
}

#[tokio::test]
async fn kstatus_sees_a_job_in_progress_until_it_is_completed_or_has_failed() -> Result<()> {
    let fixture = Fixture::new("kstatus-job").await?;
    let mut gallery = Gallery::default();
    let new = fixture.create_job("cup", "hold", json!({})).await?;
    gallery.add("nobody has looked at it", &new, "InProgress")?;

    let operator = fixture.operator("operator-1");
    let no_pool =
        fixture.job("cup", "told that there is no pool", |job| reason_of(job, SCHEDULED) == "NoPool").await?;
    gallery.add("waits for a pool", &no_pool, "InProgress")?;

    let workers = crate::workers::Workers::start(&fixture.namespace);
    fixture.create_pool(json!({"replicas": {"max": 1}})).await?;
    gallery.add("a worker runs it", &fixture.job_in("cup", Phase::Processing).await?, "InProgress")?;
    fixture.create_job("plate", "hold", json!({})).await?;
    let queued =
        fixture.job("plate", "in the queue", |job| reason_of(job, SCHEDULED) == "NoIdleWorker").await?;
    gallery.add("waits for a worker", &queued, "InProgress")?;

    fixture.patch_job("cup", json!({"suspend": true})).await?;
    let suspended = fixture.job("cup", "suspended", |job| reason_of(job, SUSPENDED) == "Suspended").await?;
    gallery.add("suspended", &suspended, "InProgress")?;
    fixture.patch_job("plate", json!({"cancel": true})).await?;
    gallery.add("cancelled", &fixture.job_in("plate", Phase::Cancelled).await?, "Failed")?;

    fixture.create_job("bowl", "transient", json!({"backoffLimit": 5})).await?;
    let retried = fixture.job("bowl", "backing off", |job| reason_of(job, SCHEDULED) == "BackingOff").await?;
    gallery.add("waits for its next attempt", &retried, "InProgress")?;
    fixture.create_job("vase", "invalid", json!({})).await?;
    fixture.job("vase", "dead-lettered", |job| job.labels().contains_key(labels::DEAD_LETTER)).await?;
    gallery.add("failed", &fixture.job_in("vase", Phase::Failed).await?, "Failed")?;

    fixture.create_job("jug", "complete", json!({})).await?;
    gallery.add("completed", &fixture.job_in("jug", Phase::Completed).await?, "Current")?;
    operator.stop().await?;
    fixture.patch_job("jug", json!({"ttlSecondsAfterFinished": 3600})).await?;
    gallery.add("changed since", &fixture.jobs().get("jug").await?, "InProgress")?;
    let operator = fixture.operator("operator-2");
    let seen =
        |job: &GenerationJob| job.status.as_ref().and_then(|status| status.observed_generation) == Some(2);
    gallery.add("its change was seen", &fixture.job("jug", "seen", seen).await?, "Current")?;

    operator.stop().await?;
    drop(workers);
    gallery.judge().await?;
    fixture.namespace.delete().await
}

#[tokio::test]
async fn kstatus_sees_a_pool_as_current_while_it_can_serve_and_as_failed_while_it_cannot() -> Result<()> {
    let fixture = Fixture::new("kstatus-pool").await?;
    let mut gallery = Gallery::default();
    let new = fixture
        .create_pool(json!({"template": {
            "metadata": {"labels": {"start": "never"}},
            "spec": {"containers": [{"name": "worker", "image": "worker:test"}]},
        }}))
        .await?;
    gallery.add("nobody has looked at it", &new, "InProgress")?;

    let operator = fixture.operator("operator-1");
    let zero = fixture.pool("scaled to zero", |pool| holds(pool, READY)).await?;
    gallery.add("needs no worker", &zero, "Current")?;

    let min = json!({"spec": {"replicas": {"min": 1}}});
    fixture.pools().patch("image", &PatchParams::default(), &Patch::Merge(min)).await?;
    let starting = fixture
        .pool("starting", |pool| pool.status.as_ref().is_some_and(|status| status.starting == 1))
        .await?;
    gallery.add("its first worker starts", &starting, "InProgress")?;

    let pod = fixture.worker_pods(1).await?.remove(0).metadata.name.unwrap_or_default();
    let waiting = json!({"phase": "Pending", "containerStatuses": [{
        "name": "worker", "image": "worker:test", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
    }]});
    set_pod_status(&fixture.pods(), &pod, waiting).await?;
    let stalled = fixture.pool("stalled", |pool| holds(pool, STALLED)).await?;
    gallery.add("its worker cannot start", &stalled, "Failed")?;

    let ready = json!({"phase": "Running", "containerStatuses": null, "conditions": [{"type": "Ready", "status": "True"}]});
    set_pod_status(&fixture.pods(), &pod, ready).await?;
    let idle =
        fixture.pool("ready", |pool| pool.status.as_ref().is_some_and(|status| status.idle == 1)).await?;
    gallery.add("its worker is ready", &idle, "Current")?;

    fixture.pools().delete("image", &DeleteParams::foreground()).await?;
    gallery.add("is being deleted", &fixture.pools().get("image").await?, "Terminating")?;
    operator.stop().await?;
    gallery.judge().await?;
    fixture.namespace.delete().await
}
