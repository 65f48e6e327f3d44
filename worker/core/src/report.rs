//! Writes a job's status, so that neither a blip of the API server nor somebody else's write loses a result.

use std::time::Duration;

use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::time::{Instant, sleep, timeout};
use trellis_crds::GenerationJob;

use crate::desk::{AttemptId, Identity};
use crate::failure::chain;
use crate::pace::Pace;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is in the job's status.
    Done,
    /// It is not: the job is gone or no longer this worker's, or the time was over.
    Dropped,
    /// It is not, though the job is this worker's: the API server will never take it.
    Refused,
    /// It is not, though the job is this worker's: the worker has had no right to for long.
    Forbidden,
}

/// Writes the status of one job for one attempt.
pub(crate) struct Reporter {
    api: Api<GenerationJob>,
    identity: Identity,
    attempt: AttemptId,
    job: GenerationJob,
    pace: Pace,
}

impl Reporter {
    /// `job` is what the watch shows of it.
    pub(crate) fn new(
        api: Api<GenerationJob>,
        identity: Identity,
        attempt: AttemptId,
        job: GenerationJob,
        pace: Pace,
    ) -> Self {
        Self { api, identity, attempt, job, pace }
    }

    /// The job as it was last read or written.
    pub(crate) fn job(&self) -> &GenerationJob {
        &self.job
    }

    /// Applies `change` to the job's status, trying for as long as `patience` lasts.
    ///
    /// May be dropped at any time: whether the last try was carried out is then found out by the next write.
    pub(crate) async fn write(&mut self, change: impl Fn(&mut GenerationJob), patience: Duration) -> Written {
        let began = Instant::now();
        let mut pause = self.pace.first_pause;
        loop {
            let mut changed = self.job.clone();
            change(&mut changed);
            let error = match self.replace(&changed).await {
                Ok(()) => return Written::Done,
                Err(error) => error,
            };
            if let Some(written) = self.outcome(&error, began.elapsed()).await {
                tracing::info!(error = chain(&error), ?written, "the status is not written");
                return written;
            }
            if began.elapsed() + pause > patience {
                tracing::error!(error = chain(&error), "the status could not be written in time");
                return Written::Dropped;
            }
            tracing::warn!(error = chain(&error), "writing the status again");
            sleep(pause).await;
            pause = (pause * 2).min(self.pace.longest_pause);
        }
    }

    /// What became of a write that has failed for `so_far`; `None` when it is to be made again.
    async fn outcome(&mut self, error: &CallError, so_far: Duration) -> Option<Written> {
        let last = match error.verdict(&self.job.name_any()) {
            Verdict::Retry => return None,
            Verdict::Gone => return Some(Written::Dropped),
            Verdict::Conflict => None,
            Verdict::Forbidden => (so_far > self.pace.forbidden_patience).then_some(Written::Forbidden),
            Verdict::Refused => Some(Written::Refused),
        };
        let before = self.job.resource_version();
        let standing = self.reread().await;
        // What somebody else wrote in between may be why.
        let as_it_was = self.job.resource_version() == before;
        standing.or(last.filter(|_| as_it_was))
    }

    async fn replace(&mut self, changed: &GenerationJob) -> Result<(), CallError> {
        let name = changed.name_any();
        self.job = self.call(self.api.replace_status(&name, &PostParams::default(), changed)).await?;
        Ok(())
    }

    /// Reads the job anew; `None` when the attempt is still to be written.
    async fn reread(&mut self) -> Option<Written> {
        let name = self.job.name_any();
        match self.call(self.api.get(&name)).await {
            Ok(job) => {
                self.job = job;
                standing(&self.identity, &self.attempt, &self.job)
            }
            Err(error) => (error.verdict(&name) == Verdict::Gone).then_some(Written::Dropped),
        }
    }

    async fn call<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
        let limit = self.pace.call;
        Ok(timeout(limit, request).await.map_err(|_| CallError::TimedOut(limit))??)
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
    #[error("the API server did not answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// What a failed call says of the job.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Somebody else wrote in between.
    Conflict,
    /// It may work later.
    Retry,
    /// There is no such job.
    Gone,
    /// The worker has no right to. It may get it back.
    Forbidden,
    /// It will never work.
    Refused,
}

impl CallError {
    /// Of a call about the job of this name.
    fn verdict(&self, name: &str) -> Verdict {
        let Self::Api(kube::Error::Api(status)) = self else { return Verdict::Retry };
        match status.code {
            409 => Verdict::Conflict,
            // An API server says so also of what it does not serve at the moment.
            404 if status.details.as_ref().is_some_and(|details| details.name == name) => Verdict::Gone,
            403 => Verdict::Forbidden,
            400 | 413 | 422 => Verdict::Refused,
            _ => Verdict::Retry,
        }
    }
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
    use kube::core::response::StatusDetails;

    use super::*;
    use crate::desk::tests::{assigned, ended, identity};

    #[test]
    fn only_what_may_change_is_tried_again() {
        let api =
            |code| CallError::Api(kube::Error::Api(Box::new(Status::failure("no", "No").with_code(code))));
        assert_eq!(api(409).verdict("cup"), Verdict::Conflict);
        assert_eq!(api(403).verdict("cup"), Verdict::Forbidden);
        for code in [400, 413, 422] {
            assert_eq!(api(code).verdict("cup"), Verdict::Refused, "{code}");
        }
        for code in [401, 429, 500, 503, 504] {
            assert_eq!(api(code).verdict("cup"), Verdict::Retry, "{code}");
        }
        assert_eq!(CallError::TimedOut(Duration::ZERO).verdict("cup"), Verdict::Retry);
    }

    fn naming(name: &str) -> StatusDetails {
        let (group, kind, uid) = Default::default();
        StatusDetails { name: name.into(), group, kind, uid, causes: Vec::new(), retry_after_seconds: 0 }
    }

    #[test]
    fn a_job_is_gone_only_when_the_answer_names_it() {
        let missing = |name: &str| {
            let status = Status::failure("no", "NotFound").with_code(404).with_details(naming(name));
            CallError::Api(kube::Error::Api(Box::new(status))).verdict("cup")
        };
        assert_eq!(missing("cup"), Verdict::Gone);
        assert_eq!(missing(""), Verdict::Retry);
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
        let pace = Pace { first_pause: Duration::from_millis(1), ..Pace::default() };
        (Reporter::new(api, identity(), attempt, job, pace), asked)
    }

    fn refusal(code: u16) -> (u16, serde_json::Value) {
        let status = Status::failure("no", if code == 404 { "NotFound" } else { "No" }).with_code(code);
        (code, serde_json::to_value(status.with_details(naming("cup"))).unwrap())
    }

    fn shown(job: GenerationJob) -> (u16, serde_json::Value) {
        (200, serde_json::to_value(job).unwrap())
    }

    fn at_version(version: &str) -> GenerationJob {
        let mut job = assigned("a");
        job.metadata.resource_version = Some(version.into());
        job
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

    #[tokio::test]
    async fn a_right_that_is_missed_for_a_moment_loses_no_result() {
        let (mut reporter, _) = reporter(vec![refusal(403), refusal(403), shown(assigned("a"))]);
        assert_eq!(reporter.write(with_end, PATIENCE).await, Written::Done);
        let (mut reporter, _) = self::reporter(vec![refusal(403), refusal(403)]);
        reporter.pace.forbidden_patience = Duration::ZERO;
        assert_eq!(reporter.write(with_end, PATIENCE).await, Written::Forbidden);
    }

    #[tokio::test]
    async fn what_the_api_server_never_takes_is_not_tried_for_ever() {
        let (mut reporter, _) = reporter(vec![refusal(422), shown(assigned("a"))]);
        assert_eq!(reporter.write(with_end, PATIENCE).await, Written::Refused);
        // The job was changed by somebody in between, which may be why.
        let answers = vec![refusal(422), shown(at_version("2")), shown(at_version("3"))];
        let (mut reporter, _) = self::reporter(answers);
        assert_eq!(reporter.write(with_end, PATIENCE).await, Written::Done);
    }
}
