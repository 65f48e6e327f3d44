//! The operator's leader goes, the other replica takes over.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt as _};
use trellis_e2e::installation::NAMESPACE;
use trellis_e2e::photo::photo_job;

use crate::site::{ALL, announced, completed, create, job_of, room, underway, with_workers};

#[tokio::test]
async fn a_killed_leader_loses_no_job() -> Result<()> {
    let _room = room(ALL).await?;
    with_workers(2, "leader", async |namespace| {
        create(namespace, job_of(namespace, "running", 25).await?).await?;
        underway(namespace, "running").await?;
        let leader = leader(namespace.client()).await?.context("the operator has no leader")?;
        let others = replicas_beside(namespace.client(), &leader).await?;
        kill(namespace.client(), &leader).await?;
        create(namespace, photo_job("new", 1)).await?;

        completed(namespace, "new").await?;
        let successor = announced(namespace, "new").await?.reporting_instance.unwrap_or_default();
        ensure!(others.contains(&successor), "{successor} led after {leader}, {others:?} stood by");
        for job in ["running", "new"] {
            let status = completed(namespace, job).await?;
            ensure!(status.attempts.len() == 1, "the attempts at {job}: {:?}", status.attempts);
        }
        Ok(())
    })
    .await
}

/// The pod that holds the operator's Lease.
async fn leader(client: &Client) -> Result<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let lease = leases.get("trellis-operator").await.context("the operator has no Lease")?;
    Ok(lease.spec.and_then(|spec| spec.holder_identity))
}

/// The operator's other pods.
async fn replicas_beside(client: &Client, leader: &str) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let operators = ListParams::default().labels("app.kubernetes.io/component=operator");
    let names = pods.list(&operators).await?.into_iter().map(|pod| pod.name_any());
    Ok(names.filter(|name| name != leader).collect())
}

async fn kill(client: &Client, pod: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    pods.delete(pod, &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}
