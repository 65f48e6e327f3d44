//! Flux: the real kustomize-controller, with a source whose artifact the test serves itself.

mod artifact;
mod controller;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use trellis_crds::Phase;
use trellis_crds::conditions::{self, READY};
use trellis_e2e::{install_definitions, tools};

use crate::fixture::Fixture;
use artifact::Artifact;
use controller::Controller;

const LIMIT: Duration = Duration::from_secs(90);

/// A namespace with an operator's pool, and Flux's controller beside it.
struct Flux {
    fixture: Fixture,
    controller: Controller,
    artifact: Artifact,
}

impl Flux {
    /// Flux that knows a repository of these jobs: each in a folder of its own that has the job's name.
    async fn start(fixture: Fixture, jobs: &[(&str, &str)]) -> Result<Self> {
        let artifact =
            Artifact::serve(&jobs.iter().map(|(name, play)| (*name, job(name, play))).collect::<Vec<_>>())
                .await?;
        let definitions = tokio::task::spawn_blocking(|| {
            let controller = "github.com/fluxcd/kustomize-controller";
            let source = "github.com/fluxcd/source-controller";
            anyhow::Ok([
                tools::sources_of("flux", controller, controller)?,
                tools::sources_of("flux", source, &format!("{source}/api"))?,
            ])
        });
        for sources in definitions.await?? {
            install_definitions(&fixture.client, &sources.join("config/crd/bases")).await?;
        }
        let controller = Controller::start(fixture.server, fixture.namespace.name()).await?;
        let flux = Self { fixture, controller, artifact };
        flux.create_repository().await?;
        Ok(flux)
    }

    fn objects(&self, group: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: format!("{group}.toolkit.fluxcd.io"),
            version: "v1".into(),
            api_version: format!("{group}.toolkit.fluxcd.io/v1"),
            kind: kind.into(),
            plural: plural.into(),
        };
        Api::namespaced_with(self.fixture.client.clone(), self.fixture.namespace.name(), &resource)
    }

    fn kustomizations(&self) -> Api<DynamicObject> {
        self.objects("kustomize", "Kustomization", "kustomizations")
    }

    async fn create(
        objects: &Api<DynamicObject>,
        name: &str,
        kind: &str,
        group: &str,
        spec: Value,
    ) -> Result<()> {
        let object = json!({
            "apiVersion": format!("{group}.toolkit.fluxcd.io/v1"), "kind": kind, "metadata": {"name": name}, "spec": spec,
        });
        objects.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    /// Does for the repository what Flux's source-controller would.
    async fn create_repository(&self) -> Result<()> {
        let repositories = self.objects("source", "GitRepository", "gitrepositories");
        let spec = json!({"interval": "1h", "url": "https://git.test/jobs.git"});
        Self::create(&repositories, "jobs", "GitRepository", "source", spec).await?;
        let status = json!({"status": {"observedGeneration": 1, "artifact": self.artifact.status()}});
        repositories.patch_status("jobs", &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    /// Lets Flux apply the folder of that name and wait for what is in it.
    async fn apply(&self, name: &str) -> Result<()> {
        let spec = json!({
            "interval": "1h", "timeout": "80s", "path": format!("./{name}"), "prune": false, "wait": true,
            "targetNamespace": self.fixture.namespace.name(), "sourceRef": {"kind": "GitRepository", "name": "jobs"},
        });
        Self::create(&self.kustomizations(), name, "Kustomization", "kustomize", spec).await
    }

    async fn condition(&self, name: &str, kind: &str) -> Result<Option<Condition>> {
        let object = self.kustomizations().get(name).await?;
        let conditions = object.data.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([]));
        let conditions: Vec<Condition> = serde_json::from_value(conditions)?;
        Ok(conditions::get(&conditions, kind).cloned())
    }

    /// Waits until a condition of the Kustomization is as asked.
    async fn wait_until(
        &self,
        name: &str,
        kind: &str,
        what: &str,
        holds: impl Fn(&Condition) -> bool,
    ) -> Result<Condition> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let now = self.condition(name, kind).await?;
            if let Some(now) = now.as_ref().filter(|now| holds(now)) {
                return Ok(now.clone());
            }
            if Instant::now() > deadline {
                bail!("Kustomization {name} is not {what} but {now:?}\n{}", self.controller.log());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn job(name: &str, play: &str) -> Value {
    json!({
        "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
        "metadata": {"name": name, "labels": {"play": play}},
        "spec": {"input": {"image": {"sources": [{"uri": "gs://photos/cup.png"}]}}},
    })
}

#[tokio::test]
async fn a_kustomization_that_waits_is_ready_when_its_job_is_completed_and_fails_with_it() -> Result<()> {
    let (fixture, operator, _workers) =
        Fixture::running("flux", json!({"replicas": {"min": 2, "max": 2}})).await?;
    let flux = Flux::start(fixture, &[("cup", "hold"), ("vase", "invalid")]).await?;

    flux.apply("cup").await?;
    let checks = |now: &Condition| now.message.contains("Running health checks");
    flux.wait_until("cup", "Healthy", "waiting for its job", checks).await?;
    flux.fixture.job_in("cup", Phase::Processing).await?;

    // A job that fails meanwhile is told at once, long before the time-out.
    flux.apply("vase").await?;
    let failed = flux.wait_until("vase", READY, "failed", |ready| ready.status == "False").await?;
    assert_eq!(failed.reason, "HealthCheckFailed", "{failed:?}");
    assert!(failed.message.contains("vase"), "{failed:?}");

    let still = flux.condition("cup", READY).await?.context("the Kustomization lost its condition")?;
    assert_eq!(still.status, "Unknown", "{still:?}");
    let completes = json!({"metadata": {"labels": {"play": "complete"}}});
    flux.fixture.jobs().patch("cup", &PatchParams::default(), &Patch::Merge(completes)).await?;
    let completed = flux.fixture.job_in("cup", Phase::Completed).await?;
    let ready = flux.wait_until("cup", READY, "ready", |ready| ready.status == "True").await?;
    assert_eq!(ready.reason, "ReconciliationSucceeded", "{ready:?}");
    let end = completed.status.and_then(|status| status.completion_time).context("no completion time")?;
    assert!(ready.last_transition_time.0.as_second() >= end.0.as_second(), "{ready:?} before {end:?}");

    operator.stop().await?;
    flux.controller.stop()?;
    flux.fixture.namespace.delete().await
}
