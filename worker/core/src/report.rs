//! Writes a job's status, so that neither a blip of the API server nor somebody else's write loses a result.

use std::time::Duration;

use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::time::{Instant, sleep, timeout};
use trellis_crds::GenerationJob;

use crate::desk::{AttemptId, Identity};
use crate::failure::chain;

/// How long one API call may take.
const CALL_TIME: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is in the job's status.
    Done,
    /// It is not: the job is gone or no longer this worker's, or the API server would not take it.
    Dropped,
}

/// Writes the status of one job for one attempt.
pub(crate) struct Reporter {
    api: Api<GenerationJob>,
    identity: Identity,
    attempt: AttemptId,
    job: GenerationJob,
}

impl Reporter {
    /// `job` is what the watch shows of it.
    pub(crate) fn new(
        api: Api<GenerationJob>,
        identity: Identity,
        attempt: AttemptId,
        job: GenerationJob,
    ) -> Self {
        Self { api, identity, attempt, job }
    }

    /// Applies `change` to the job's status, trying for as long as `patience` lasts.
    pub(crate) async fn write(&mut self, change: impl Fn(&mut GenerationJob), patience: Duration) -> Written {
        let deadline = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let mut changed = self.job.clone();
            change(&mut changed);
            let error = match self.replace(&changed).await {
                Ok(()) => return Written::Done,
                Err(error) => error,
            };
            let left = match error.verdict() {
                Verdict::Reread => self.reread().await,
                Verdict::Retry => None,
                Verdict::GiveUp => Some(Written::Dropped),
            };
            if let Some(written) = left {
                tracing::info!(error = chain(&error), ?written, "the status is not written");
                return written;
            }
            if Instant::now() + pause > deadline {
                tracing::error!(error = chain(&error), "the status could not be written in time");
                return Written::Dropped;
            }
            tracing::warn!(error = chain(&error), "writing the status again");
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn replace(&mut self, changed: &GenerationJob) -> Result<(), CallError> {
        let name = changed.name_any();
        self.job = call(self.api.replace_status(&name, &PostParams::default(), changed)).await?;
        Ok(())
    }

    /// Reads the job after a conflict; `None` when the attempt is still to be written.
    async fn reread(&mut self) -> Option<Written> {
        match call(self.api.get_opt(&self.job.name_any())).await {
            Ok(Some(job)) => {
                self.job = job;
                self.standing()
            }
            Ok(None) => Some(Written::Dropped),
            Err(_) => None,
        }
    }

    fn standing(&self) -> Option<Written> {
        standing(&self.identity, &self.attempt, &self.job)
    }
}

/// Where `attempt` stands in `job` as it was read: on record, no longer ours, or (`None`) still to be written.
fn standing(identity: &Identity, attempt: &AttemptId, job: &GenerationJob) -> Option<Written> {
    let same_job = job.uid().as_deref() == Some(&attempt.job_uid);
    // A write whose answer was lost may have been made all the same.
    let recorded = job
        .current_attempt_ended()
        .is_some_and(|ended| ended.number == attempt.number && ended.worker == identity.pod_name);
    if same_job && recorded {
        return Some(Written::Done);
    }
    let ours = identity.attempt_at(job).as_ref() == Some(attempt);
    (!ours).then_some(Written::Dropped)
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the API server did not answer within {} s", CALL_TIME.as_secs())]
    TimedOut,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// What to do after a failed write.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Somebody else wrote in between.
    Reread,
    /// It may work later.
    Retry,
    /// It will never work.
    GiveUp,
}

impl CallError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Api(kube::Error::Api(status)) => match status.code {
                409 => Verdict::Reread,
                400 | 403 | 404 | 413 | 422 => Verdict::GiveUp,
                _ => Verdict::Retry,
            },
            _ => Verdict::Retry,
        }
    }
}

async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    Ok(timeout(CALL_TIME, request).await.map_err(|_| CallError::TimedOut)??)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use kube::core::Status;

    use super::*;
    use crate::desk::tests::{assigned, ended, identity};

    #[test]
    fn only_what_may_change_is_tried_again() {
        let api =
            |code| CallError::Api(kube::Error::Api(Box::new(Status::failure("no", "No").with_code(code))));
        assert_eq!(api(409).verdict(), Verdict::Reread);
        for code in [400, 403, 404, 422] {
            assert_eq!(api(code).verdict(), Verdict::GiveUp, "{code}");
        }
        for code in [401, 429, 500, 503, 504] {
            assert_eq!(api(code).verdict(), Verdict::Retry, "{code}");
        }
        assert_eq!(CallError::TimedOut.verdict(), Verdict::Retry);
    }

    #[test]
    fn after_a_conflict_the_result_is_written_only_where_it_belongs() {
        let job = assigned("a");
        let attempt = identity().attempt_at(&job).unwrap();
        let after = |change: fn(&mut GenerationJob)| {
            let mut job = job.clone();
            change(&mut job);
            standing(&identity(), &attempt, &job)
        };
        assert_eq!(after(|_| ()), None);
        assert_eq!(after(|job| job.status.as_mut().unwrap().attempts = vec![ended(1)]), Some(Written::Done));
        assert_eq!(after(|job| job.status.as_mut().unwrap().assignment = None), Some(Written::Dropped));
        assert_eq!(after(|job| job.metadata.uid = Some("made anew".into())), Some(Written::Dropped));
        let reassigned = |job: &mut GenerationJob| {
            job.status.as_mut().unwrap().assignment.as_mut().unwrap().attempt = 2;
        };
        assert_eq!(after(reassigned), Some(Written::Dropped));
    }

    /// A reporter whose API server gives `answers`, and the methods of the requests that it got.
    fn reporter(answers: Vec<(u16, serde_json::Value)>) -> (Reporter, Arc<Mutex<Vec<Method>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (record, answers) = (asked.clone(), Mutex::new(VecDeque::from(answers)));
        let service = tower::service_fn(move |request: Request<Body>| {
            record.lock().unwrap().push(request.method().clone());
            let (code, body) = answers.lock().unwrap().pop_front().unwrap();
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            let response = Response::builder().status(code).body(body).unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        let api = Api::namespaced(Client::new(service, "shop"), "shop");
        let job = assigned("a");
        let attempt = identity().attempt_at(&job).unwrap();
        (Reporter::new(api, identity(), attempt, job), asked)
    }

    fn refusal(code: u16) -> (u16, serde_json::Value) {
        let reason = if code == 404 { "NotFound" } else { "No" };
        (code, serde_json::to_value(Status::failure("no", reason).with_code(code)).unwrap())
    }

    fn shown(job: GenerationJob) -> (u16, serde_json::Value) {
        (200, serde_json::to_value(job).unwrap())
    }

    fn with_end(job: &mut GenerationJob) {
        job.status.as_mut().unwrap().attempts = vec![ended(1)];
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_result_survives_a_blip_and_a_conflict() {
        let answers = vec![refusal(503), refusal(409), shown(assigned("a")), shown(assigned("a"))];
        let (mut reporter, asked) = reporter(answers);
        assert_eq!(reporter.write(with_end, PATIENCE).await, Written::Done);
        assert_eq!(*asked.lock().unwrap(), [Method::PUT, Method::PUT, Method::GET, Method::PUT]);
    }

    #[tokio::test]
    async fn a_write_whose_answer_was_lost_is_not_made_twice() {
        let mut written = assigned("a");
        with_end(&mut written);
        let (mut reporter, asked) = reporter(vec![refusal(504), refusal(409), shown(written)]);
        assert_eq!(reporter.write(with_end, PATIENCE).await, Written::Done);
        assert_eq!(*asked.lock().unwrap(), [Method::PUT, Method::PUT, Method::GET]);
    }

    #[tokio::test]
    async fn a_result_for_a_job_that_is_gone_is_dropped() {
        let (mut reporter, _) = reporter(vec![refusal(404)]);
        assert_eq!(reporter.write(with_end, PATIENCE).await, Written::Dropped);
        let (mut reporter, _) = self::reporter(vec![refusal(409), refusal(404)]);
        assert_eq!(reporter.write(with_end, PATIENCE).await, Written::Dropped);
    }
}
