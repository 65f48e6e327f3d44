//! What happens to a job when its worker goes, and to a worker when its job does.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use trellis_crds::Outcome;
use trellis_e2e::photo::photo_job;

use crate::site::{
    completed, create, delete, endless_job, job_of, room, underway, with_workers, worker, workers,
};

#[tokio::test]
async fn a_deleted_worker_costs_its_job_no_attempt() -> Result<()> {
    let _room = room(1).await?;
    with_workers(1, "lost", async |namespace| {
        create(namespace, job_of(namespace, "job", 12).await?).await?;
        let first = worker(&underway(namespace, "job").await?)?;
        namespace.api::<Pod>().delete(&first, &DeleteParams::default()).await?;

        let status = completed(namespace, "job").await?;
        let outcomes: Vec<_> = status.attempts.iter().map(|attempt| attempt.outcome).collect();
        ensure!(
            matches!(outcomes[..], [Outcome::Lost | Outcome::HandedBack, Outcome::Succeeded]),
            "the attempts ended {outcomes:?}"
        );
        ensure!(status.failures == 0, "{} failures", status.failures);
        let [one, two] = &status.attempts[..] else { unreachable!("there are two") };
        ensure!(
            one.worker == first && two.worker != first,
            "the workers were {} and {}",
            one.worker,
            two.worker
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_deleted_while_it_runs_frees_its_worker() -> Result<()> {
    let _room = room(1).await?;
    with_workers(1, "freed", async |namespace| {
        create(namespace, endless_job("first")).await?;
        let busy = worker(&underway(namespace, "first").await?)?;
        delete(namespace, "first").await?;
        create(namespace, photo_job("second", 1)).await?;

        let status = completed(namespace, "second").await?;
        let [attempt] = &status.attempts[..] else {
            anyhow::bail!("the attempts were {:?}", status.attempts)
        };
        ensure!(attempt.worker == busy, "{} ran the second job, {busy} the first", attempt.worker);
        let pods = workers(namespace).await?;
        ensure!(pods.len() == 1, "there are {} workers", pods.len());
        Ok(())
    })
    .await
}
