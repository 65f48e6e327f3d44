//! What a job costs the API server.

use anyhow::{Result, ensure};
use trellis_e2e::AuditEvent;
use trellis_e2e::cluster::{self, Cluster};
use trellis_e2e::installation::job_writes;
use trellis_e2e::photo::photo_job;

use crate::site::{ALL, announced, completed, create_anywhere, delete, room, with_photo};

/// The budget of `docs/architecture.md`: create_anywhere, assign, report, one event, delete.
const BUDGET: [&str; 5] = [
    "create generationjobs",
    "update generationjobs/status",
    "update generationjobs/status",
    "create events",
    "delete generationjobs",
];

#[tokio::test]
async fn a_short_job_on_a_warm_worker_costs_five_writes() -> Result<()> {
    if cluster::is_foreign() {
        eprintln!("not tested: the audit log of a cluster of somebody else's cannot be read");
        return Ok(());
    }
    let _room = room(ALL).await?;
    with_photo("writes", async |namespace| {
        create_anywhere(namespace, &photo_job("first", 1)).await?;
        completed(namespace, "first").await?;
        announced(namespace, "first").await?;

        let log = Cluster::new().audit_log()?;
        create_anywhere(namespace, &photo_job("warm", 1)).await?;
        completed(namespace, "warm").await?;
        announced(namespace, "warm").await?;
        delete(namespace, "warm").await?;
        let requests = log.events()?;
        let writes: Vec<_> = job_writes(&requests, namespace.name()).into_iter().map(describe).collect();
        ensure!(writes == BUDGET, "the job cost {} writes: {writes:#?}", writes.len());
        Ok(())
    })
    .await
}

fn describe(request: &AuditEvent) -> String {
    let object = request.object_ref.clone().unwrap_or_default();
    let kind = [object.resource, object.subresource].into_iter().filter(|part| !part.is_empty());
    format!("{} {}", request.verb, kind.collect::<Vec<_>>().join("/"))
}
