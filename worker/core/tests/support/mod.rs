//! A worker in this process, against a real API server, and what the operator does to give it jobs.

use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use http::{Method, Request, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::client::Body;
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use trellis_crds::{Assignment, GenerationJob, GenerationJobStatus, Phase};
use trellis_e2e::{ApiServer, Namespace, install_crds};
use trellis_telemetry::Health;
use trellis_worker_core::{Ended, Engine, Identity, Metrics, Pace, Worker, serve};

const POD: &str = "image-1";
const POD_UID: &str = "11111111-1111-1111-1111-111111111111";
/// How long anything that is to happen may take. Long, because machines that run tests are busy.
const LIMIT: Duration = Duration::from_secs(60);

/// What an API server that is not well does with a request, in place of the request.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Fault = Box<dyn FnMut(&Request<Body>) -> Option<Answer> + Send>;

/// Refuses with this code.
pub(crate) fn refuse(code: u16) -> Answer {
    let status = Status::failure("as the test asks", "Refused").with_code(code);
    let body = serde_json::to_vec(&status).expect("a status is JSON");
    let response = Response::builder().status(code).body(Body::from(body)).expect("a status is an answer");
    ready(response).boxed()
}

/// Never answers.
pub(crate) fn hang() -> Answer {
    pending().boxed()
}

pub(crate) fn is_write(request: &Request<Body>) -> bool {
    request.method() == Method::PUT
}

/// A namespace of its own for one worker.
pub(crate) struct Stage {
    pub(crate) namespace: Namespace,
    pub(crate) health: Health,
    pub(crate) fault: Arc<Mutex<Option<Fault>>>,
    shutdown: CancellationToken,
}

/// A worker that serves.
pub(crate) type Serving = JoinHandle<Result<(), Ended>>;

impl Stage {
    pub(crate) async fn set(name: &str) -> Result<Self> {
        let client = ApiServer::shared().await?.client().await?;
        install_crds(&client).await?;
        Ok(Self {
            namespace: Namespace::create(&client, name).await?,
            health: Health::default(),
            fault: Arc::default(),
            shutdown: CancellationToken::new(),
        })
    }

    /// From now on the worker's requests are answered as `fault` says.
    pub(crate) fn break_by(&self, fault: impl FnMut(&Request<Body>) -> Option<Answer> + Send + 'static) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(fault));
    }

    pub(crate) fn mend(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn start<E: Engine>(&self, engine: E, pace: Pace, max_jobs: Option<u32>) -> Result<Serving> {
        let worker = Worker {
            client: self.client(),
            identity: Identity { pod_name: POD.into(), pod_uid: POD_UID.into() },
            engine,
            metrics: Metrics::new(&prometheus::Registry::new())?,
            max_jobs,
            pace,
        };
        let namespace = self.namespace.name().to_owned();
        let shutdown = self.shutdown.clone().cancelled_owned();
        Ok(tokio::spawn(serve(worker, Some(namespace), self.health.clone(), shutdown)))
    }

    /// Ends the worker, as SIGTERM does.
    pub(crate) async fn terminate(&self, worker: Serving) -> Result<()> {
        self.shutdown.cancel();
        Ok(worker.await??)
    }

    /// A client whose requests go through the fault.
    fn client(&self) -> Client {
        let (client, fault) = (self.namespace.client().clone(), self.fault.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = fault.as_mut().and_then(|fault| fault(&request));
            let client = client.clone();
            async move {
                match answer {
                    Some(answer) => Ok(answer.await),
                    None => client.send(request).await,
                }
            }
        });
        Client::new(service, "default")
    }

    pub(crate) fn jobs(&self) -> Api<GenerationJob> {
        self.namespace.api()
    }

    /// Creates a job that is played so, and assigns it as the operator would.
    pub(crate) async fn assign(&self, name: &str, play: &str) -> Result<GenerationJob> {
        self.assign_together(name, play, Timestamp::now(), None).await
    }

    /// The same, at a given time together with others, `batch` in all.
    pub(crate) async fn assign_together(
        &self,
        name: &str,
        play: &str,
        time: Timestamp,
        batch: Option<i32>,
    ) -> Result<GenerationJob> {
        let mut job = GenerationJob::new(
            name,
            serde_json::from_value(
                serde_json::json!({"input": {"image": {"sources": [{"uri": "gs://photos/cup.png"}]}}}),
            )?,
        );
        job.labels_mut().insert("play".into(), play.into());
        let mut job = self.jobs().create(&PostParams::default(), &job).await?;
        let assignment = Assignment {
            pool: "image".into(),
            worker: POD.into(),
            pod_uid: POD_UID.into(),
            attempt: 1,
            time: MicroTime(time),
            batch,
        };
        job.status = Some(GenerationJobStatus {
            observed_generation: job.metadata.generation,
            phase: Some(Phase::Processing),
            assignment: Some(assignment),
            ..Default::default()
        });
        Ok(self.jobs().replace_status(name, &PostParams::default(), &job).await?)
    }

    /// The job once the end of its attempt is on record.
    pub(crate) async fn ended(&self, name: &str) -> Result<GenerationJob> {
        let ended =
            |job: Option<&GenerationJob>| job.is_some_and(|job| job.current_attempt_ended().is_some());
        let job = self.namespace.wait_for(name, "its attempt is over", LIMIT, ended).await?;
        job.with_context(|| format!("{name} is gone"))
    }

    /// Waits until the worker is ready, or is not.
    pub(crate) async fn readiness(&self, is: bool) {
        self.until("the readiness of the worker", || self.health.ready().is_ok() == is).await;
    }

    /// Waits until `holds`, which nothing tells of.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !holds() {
            assert!(Instant::now() < deadline, "{what} did not come");
            sleep(Duration::from_millis(10)).await;
        }
    }
}
