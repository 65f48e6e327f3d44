//! The operator's leader goes, the other replica takes over.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use tokio::time::timeout;
use trellis_e2e::installation::NAMESPACE;
use trellis_e2e::photo::photo_job;

use crate::site::{ALL, LIMIT, announced, completed, create, job_of, room, underway, with_workers};

const LEASE: &str = "trellis-operator";

#[tokio::test]
async fn a_killed_leader_loses_no_job() -> Result<()> {
    let _room = room(ALL).await?;
    with_workers(2, "leader", async |namespace| {
        create(namespace, job_of(namespace, "running", 25).await?).await?;
        underway(namespace, "running").await?;
        let leases: Api<Lease> = Api::namespaced(namespace.client().clone(), NAMESPACE);
        let leader = holder(leases.get(LEASE).await.ok().as_ref()).context("the operator has no leader")?;
        kill(namespace.client(), &leader).await?;
        create(namespace, photo_job("new", 1)).await?;
        for job in ["new", "running"] {
            let status = completed(namespace, job).await?;
            ensure!(status.attempts.len() == 1, "the attempts at {job}: {:?}", status.attempts);
        }

        let another = |lease: Option<&Lease>| holder(lease).is_some_and(|holder| holder != leader);
        timeout(LIMIT, await_condition(leases, LEASE, another)).await.context("nobody took the Lease")??;
        create(namespace, photo_job("later", 1)).await?;
        completed(namespace, "later").await?;
        let announcer = announced(namespace, "later").await?.reporting_instance;
        ensure!(announcer.is_some_and(|announcer| announcer != leader), "the killed leader leads");
        Ok(())
    })
    .await
}

/// The pod that holds the operator's Lease.
fn holder(lease: Option<&Lease>) -> Option<String> {
    lease?.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}

async fn kill(client: &Client, pod: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    pods.delete(pod, &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}
