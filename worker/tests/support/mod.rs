//! A worker process, and what the operator does to give it a job.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use trellis_crds::{
    Assignment, GenerationJob, GenerationJobSpec, GenerationJobStatus, ImageInput, Phase, Source,
    StageSampling,
};
use trellis_e2e::{ApiServer, Namespace, install_crds};

pub(crate) const POD: &str = "image-1";
pub(crate) const POD_UID: &str = "11111111-1111-1111-1111-111111111111";
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder of the fixtures of the model.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("TRELLIS_SOURCES")).join("worker/pipeline/tests/golden/15_end2end").join(name)
}

/// The worker, which stores files in `folder`; what a test is about is still to be set.
pub(crate) fn worker(kubeconfig: &Path, folder: &Path) -> Command {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_trellis-worker"));
    worker
        .env("KUBECONFIG", kubeconfig)
        .env("POD_NAME", POD)
        .env("POD_UID", POD_UID)
        .env("TRELLIS_OUTPUT_URI", format!("file://{}", folder.display()))
        .env("TRELLIS_DEVICE", "cpu")
        .env("OMP_NUM_THREADS", "1")
        .env("LOG_LEVEL", "error")
        .stdin(Stdio::null());
    worker
}

/// What makes an asset of an image in `steps` sampling steps.
pub(crate) fn spec(source: Source, steps: i32) -> GenerationJobSpec {
    let mut spec = GenerationJobSpec::default();
    spec.input.image = Some(ImageInput { sources: vec![source], ..Default::default() });
    spec.sampling.seed = Some(42);
    let sampling = StageSampling { steps: Some(steps), cfg_strength: None };
    spec.sampling.sparse_structure = Some(sampling.clone());
    spec.sampling.structured_latent = Some(sampling);
    spec
}

/// To the worker, now, alone.
pub(crate) fn assignment() -> Assignment {
    Assignment {
        pool: "image".into(),
        worker: POD.into(),
        pod_uid: POD_UID.into(),
        attempt: 1,
        time: MicroTime(Timestamp::now()),
        batch: None,
    }
}

/// A namespace of its own, with a worker that takes jobs from it and stores files in `folder`.
pub(crate) struct Stage {
    pub(crate) namespace: Namespace,
    pub(crate) folder: TempDir,
    worker: Child,
    address: String,
}

impl Stage {
    pub(crate) async fn set(name: &str) -> Result<Self> {
        let server = ApiServer::shared().await?;
        let client = server.client().await?;
        install_crds(&client).await?;
        let namespace = Namespace::create(&client, name).await?;
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let worker = worker(&server.kubeconfig(), folder.path())
            .env("TRELLIS_MODEL_URI", format!("file://{}", fixture("model").display()))
            .env("WATCH_NAMESPACE", namespace.name())
            .env("LISTEN", &address)
            .spawn()?;
        let mut stage = Self { namespace, folder, worker, address };
        stage.wait_for("/readyz", "ok").await?;
        Ok(stage)
    }

    pub(crate) fn jobs(&self) -> Api<GenerationJob> {
        self.namespace.api()
    }

    /// A file that jobs may name, with `content`.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Result<Source> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content)?;
        Ok(Source { uri: Some(format!("file://{}", path.display())), config_map_key_ref: None })
    }

    /// The image of the fixtures, as a file that jobs may name.
    pub(crate) fn photo(&self) -> Result<Source> {
        self.file("photo.png", &std::fs::read(fixture("input.png"))?)
    }

    /// Creates a job of `steps` sampling steps and assigns it, as the operator would, to the pod of this uid.
    pub(crate) async fn assign(
        &self,
        name: &str,
        source: Source,
        steps: i32,
        pod_uid: &str,
    ) -> Result<GenerationJob> {
        let assignment = Assignment { pod_uid: pod_uid.into(), ..assignment() };
        self.assign_as(name, spec(source, steps), assignment).await
    }

    /// Creates the jobs and assigns them to the worker as one batch.
    pub(crate) async fn assign_together(
        &self,
        jobs: impl IntoIterator<Item = (&str, GenerationJobSpec), IntoIter: ExactSizeIterator>,
    ) -> Result<Vec<GenerationJob>> {
        let jobs = jobs.into_iter();
        let together = Assignment { batch: i32::try_from(jobs.len()).ok(), ..assignment() };
        let mut assigned = Vec::new();
        for (name, spec) in jobs {
            assigned.push(self.assign_as(name, spec, together.clone()).await?);
        }
        Ok(assigned)
    }

    /// Creates a job and assigns it so.
    pub(crate) async fn assign_as(
        &self,
        name: &str,
        spec: GenerationJobSpec,
        assignment: Assignment,
    ) -> Result<GenerationJob> {
        let jobs = self.jobs();
        let mut job = jobs.create(&PostParams::default(), &GenerationJob::new(name, spec)).await?;
        job.status = Some(GenerationJobStatus {
            observed_generation: job.metadata.generation,
            phase: Some(Phase::Processing),
            assignment: Some(assignment),
            ..Default::default()
        });
        Ok(jobs.replace_status(name, &PostParams::default(), &job).await?)
    }

    /// The job once the end of its attempt is on record.
    pub(crate) async fn ended(&self, job: &GenerationJob) -> Result<GenerationJob> {
        let ended =
            |job: Option<&GenerationJob>| job.is_some_and(|job| job.current_attempt_ended().is_some());
        let name = job.name_any();
        let job = timeout(DEADLINE, await_condition(self.jobs(), &name, ended)).await;
        job.with_context(|| format!("the attempt at {name} did not end"))??
            .with_context(|| format!("{name} is gone"))
    }

    /// Waits until the worker's answer to a request of `path` has `text` in it.
    pub(crate) async fn wait_for(&mut self, path: &str, text: &str) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        let url = format!("http://{}{path}", self.address);
        loop {
            let answer = match reqwest::get(&url).await {
                Ok(response) => response.text().await?,
                Err(error) => error.to_string(),
            };
            if answer.contains(text) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{path} never had {text:?} in it:\n{answer}");
            }
            if let Some(status) = self.worker.try_wait()? {
                bail!("the worker ended ({status}) before {path} had {text:?} in it");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Tells the worker to end, as the kubelet does, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> Result<ExitStatus> {
        Command::new("sh").args(["-c", &format!("kill -TERM {}", self.worker.id())]).status()?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.worker.try_wait()? {
                Some(status) => return Ok(status),
                None if Instant::now() > deadline => bail!("the worker did not end"),
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.worker.kill();
        let _ = self.worker.wait();
    }
}
