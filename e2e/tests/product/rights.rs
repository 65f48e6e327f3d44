//! What a worker may write, by the token of its pod.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use trellis_crds::GenerationJob;
use trellis_e2e::{Namespace, cluster};

use crate::site::{WORKER, create, endless_job, room, underway, with_workers, worker};

#[tokio::test]
async fn a_worker_reports_on_its_own_job_and_changes_nothing_else() -> Result<()> {
    let _room = room(2).await?;
    with_workers(2, "rights", async |namespace| {
        for job in ["own", "other"] {
            create(namespace, endless_job(job)).await?;
        }
        let own = worker(&underway(namespace, "own").await?)?;
        let other = worker(&underway(namespace, "other").await?)?;
        ensure!(own != other, "{own} has both jobs");
        let jobs = as_worker(namespace, Some(&own)).await?;

        let progress =
            json!({"progress": {"stage": "s", "percent": 9, "updatedAt": "2026-01-01T00:00:00.000000Z"}});
        report(&jobs, "own", &progress).await.context("progress of its own job")?;
        refused(&jobs, "other", &progress, "this job is not assigned to this worker").await?;
        for assignment in [json!({"worker": other}), json!({"attempt": 2}), Value::Null] {
            let status = json!({ "assignment": assignment });
            refused(&jobs, "own", &status, "only the operator changes status.assignment").await?;
        }
        refused(&jobs, "own", &json!({"phase": "Failed"}), "may set the phase Completed, no other").await?;
        refused(&jobs, "own", &json!({"failures": 7}), "only the operator counts status.failures").await?;
        let unbound = as_worker(namespace, None).await?;
        refused(&unbound, "own", &progress, "workers must use the token of their pod").await?;

        let specification = Patch::Merge(json!({"spec": {"priority": 9}}));
        let patched = jobs.patch("own", &PatchParams::default(), &specification).await;
        ensure!(code(&patched) == Some(403), "a worker changed a specification: {patched:?}");
        Ok(())
    })
    .await
}

/// The jobs as they are seen by whoever has a token of the workers' service account, bound to a pod or not.
async fn as_worker(namespace: &Namespace, pod: Option<&str>) -> Result<Api<GenerationJob>> {
    let bound = match pod {
        Some(name) => Some(BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(name.into()),
            uid: namespace.api::<Pod>().get(name).await?.metadata.uid,
        }),
        None => None,
    };
    let spec = TokenRequestSpec { bound_object_ref: bound, ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts = namespace.api::<ServiceAccount>();
    let token = accounts.create_token_request(WORKER, &PostParams::default(), &request).await?;
    let token = token.status.context("no token was issued")?.token;
    Ok(Api::namespaced(cluster::client_with_token(&token).await?, namespace.name()))
}

async fn report(jobs: &Api<GenerationJob>, job: &str, status: &Value) -> kube::Result<GenerationJob> {
    let mut object = serde_json::to_value(jobs.get(job).await?).map_err(kube::Error::SerdeError)?;
    json_patch::merge(&mut object["status"], status);
    let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    jobs.replace_status(job, &PostParams::default(), &object).await
}

/// Reports `status`, which must be refused with `message`.
async fn refused(jobs: &Api<GenerationJob>, job: &str, status: &Value, message: &str) -> Result<()> {
    match report(jobs, job, status).await {
        Err(kube::Error::Api(refusal)) if refusal.message.contains(message) => Ok(()),
        other => anyhow::bail!("{status} of the job {job} met {other:?}, not {message:?}"),
    }
}

fn code<T>(result: &kube::Result<T>) -> Option<u16> {
    match result {
        Err(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}
