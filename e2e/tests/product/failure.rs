//! Jobs that cannot succeed.

use anyhow::{Context as _, Result, ensure};
use trellis_crds::{FailureReason, Outcome, Phase, labels};
use trellis_e2e::photo::{picture_job, provide_picture};
use trellis_e2e::{cluster, in_namespace};

use crate::site::{create_anywhere, ended, room, wait};

#[tokio::test]
async fn a_corrupt_image_fails_once_and_for_good() -> Result<()> {
    let _room = room(1).await?;
    in_namespace(&cluster::client().await?, "corrupt", async |namespace| {
        provide_picture(namespace, "garbage", b"\x89PNG\r\n\x1a\nand then nothing of a picture".into())
            .await?;
        let job = picture_job("job", "garbage", 1);
        ensure!(job.spec.backoff_limit > 0, "the job would not be retried anyway");
        create_anywhere(namespace, &job).await?;

        let job = ended(namespace, "job").await?;
        let status = job.status.as_ref().context("no status")?;
        ensure!(job.phase() == Phase::Failed, "the job is {:?}", status.phase);
        let error = status.error.as_ref().context("no error")?;
        ensure!(error.code == "InvalidInput" && !error.retryable, "{error:?}");
        let [attempt] = &status.attempts[..] else {
            anyhow::bail!("the attempts were {:?}", status.attempts)
        };
        ensure!(
            (attempt.outcome, attempt.reason) == (Outcome::Failed, Some(FailureReason::InvalidInput)),
            "{attempt:?}"
        );
        let labelled = |job: &trellis_crds::GenerationJob| {
            job.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(labels::DEAD_LETTER))
        };
        wait(namespace, "job", "labelled as failed for good", labelled).await.map(drop)
    })
    .await
}
