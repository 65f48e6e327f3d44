//! What users have done to a job that they have: that it is cancelled, or tried again.

use serde_json::{Value, json};
use trellis_crds::{GenerationJob, Phase, labels};

use super::following::Following;
use super::store::Seen;
use super::view::Status;
use super::{JobError, JobId, PATIENCE};
use crate::app::App;
use crate::auth::Caller;
use crate::cluster::ClusterError;

/// Why something is not done to a job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// There is no such job, or it cannot be looked at.
    #[error(transparent)]
    Job(#[from] JobError),
    /// It cannot be cancelled any more.
    #[error("The job has ended already: it is {0}.")]
    Ended(Status),
    /// It cannot be tried again.
    #[error("The job is {0}: only a failed job is tried again. Send the request again for another asset.")]
    NotFailed(Status),
    /// It failed, and only its record is left.
    #[error("Only the record of the job is left, and that cannot be tried again. Send the request again.")]
    OnlyRecord,
}

/// Cancels the job. Cancelling it again changes nothing.
pub(crate) async fn cancel(app: &App, caller: Caller, id: JobId) -> Result<Seen, OrderError> {
    let mut following = Following::new(app, caller.clone(), id.clone());
    let is_cancelled = |seen: Seen| match seen.job.phase() {
        phase @ (Phase::Completed | Phase::Failed) => Err(OrderError::Ended(phase.into())),
        _ => Ok(seen),
    };
    let seen = is_cancelled(app.jobs.see(&caller, &id).await?)?;
    if seen.job.is_finished() {
        return Ok(seen);
    }
    app.jobs.change(&caller, &id, &json!({"spec": {"cancel": true}})).await.map_err(JobError::from)?;
    following.end(PATIENCE).await;
    // It may have ended in another way before the operator saw it.
    is_cancelled(app.jobs.see(&caller, &id).await?)
}

/// Has a failed job tried again.
pub(crate) async fn retry(app: &App, caller: Caller, id: JobId) -> Result<Seen, OrderError> {
    let mut following = Following::new(app, caller.clone(), id.clone());
    // The operator sets the label when it has seen the job fail, and would set it over ours.
    let settled =
        |seen: &Seen| (seen.job.phase() != Phase::Failed || is_labelled(&seen.job)).then(|| seen.clone());
    let seen = match app.jobs.see(&caller, &id).await? {
        seen if settled(&seen).is_some() => seen,
        seen => following.within(PATIENCE, settled).await.unwrap_or(seen),
    };
    if seen.job.phase() != Phase::Failed {
        return Err(OrderError::NotFailed(seen.job.phase().into()));
    }
    match app.jobs.change(&caller, &id, &label(labels::DEAD_LETTER_RETRY)).await {
        Err(ClusterError::NotFound) => return Err(OrderError::OnlyRecord),
        other => other.map_err(JobError::from)?,
    }
    let is_tried = |seen: &Seen| (seen.job.phase() != Phase::Failed).then(|| seen.clone());
    Ok(following.within(PATIENCE, is_tried).await.unwrap_or(seen))
}

fn is_labelled(job: &GenerationJob) -> bool {
    job.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(labels::DEAD_LETTER))
}

fn label(value: &str) -> Value {
    json!({"metadata": {"labels": {labels::DEAD_LETTER: value}}})
}
