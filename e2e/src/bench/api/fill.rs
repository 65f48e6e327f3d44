//! Many jobs, as the REST API makes them, made without it: which tells how fast the API server takes them.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use tokio::time::Instant;
use trellis_crds::{Assignment, GenerationJob, OutputFile, Phase};
use trellis_worker_core::{Product, complete};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

use super::site::{Site, prompt, submit};
use super::{Figures, Size};
use crate::Namespace;

/// A namespace with jobs of the user's.
pub(super) struct Filled {
    pub(super) namespace: Namespace,
    pub(super) jobs: Vec<String>,
}

/// Creates the jobs; nine of ten then complete.
pub(super) async fn fill(site: &Site, size: &Size, figures: &mut Figures) -> Result<Filled> {
    let namespace = site.namespace("many", 1).await?;
    let pattern = pattern(site, &namespace).await?;
    let api = namespace.api::<GenerationJob>();
    let names: Vec<String> = (0..size.jobs).map(|number| format!("gj-01jd{number:022}")).collect();

    let start = Instant::now();
    let created = stream::iter(&names).map(async |name| {
        let mut job = pattern.clone();
        job.metadata.name = Some(name.clone());
        api.create(&PostParams::default(), &job).await
    });
    let created: Vec<GenerationJob> = created.buffer_unordered(size.submitters).try_collect().await?;
    figures.apiserver_create_per_s = Some(names.len() as f64 / start.elapsed().as_secs_f64());

    let over = created.into_iter().enumerate().filter(|(number, _)| number % 10 != 0);
    let ended = stream::iter(over).map(async |(_, job)| end(&api, job).await);
    ended.buffer_unordered(size.submitters).try_collect::<()>().await?;
    Ok(Filled { namespace, jobs: names })
}

/// A job as the REST API makes it, without a name.
async fn pattern(site: &Site, namespace: &Namespace) -> Result<GenerationJob> {
    let rest = site.rest(namespace).await?;
    let id = submit(&rest, &prompt(0)).await?;
    let made = namespace.api::<GenerationJob>().get(&id).await?;
    let mut job = GenerationJob::new("", made.spec.clone());
    job.metadata.labels = Some(made.labels().clone());
    job.metadata.annotations = Some(made.annotations().clone());
    Ok(job)
}

/// Writes a job's end as operator and worker do.
async fn end(api: &Api<GenerationJob>, mut job: GenerationJob) -> kube::Result<()> {
    let (name, now) = (job.name_any(), Timestamp::now());
    let status = job.status.get_or_insert_default();
    status.phase = Some(Phase::Processing);
    status.assignment = Some(Assignment {
        pool: "default".into(),
        worker: "default-00001".into(),
        pod_uid: "11111111-1111-1111-1111-111111111111".into(),
        attempt: 1,
        time: MicroTime(now),
        batch: None,
    });
    let folder = format!("file:///assets/{}", job.folder_of_attempt(1));
    let file = |name: &str, format: &str| OutputFile {
        format: format.into(),
        uri: format!("{folder}/{name}"),
        bytes: 1_000_000,
        sha256: "0".repeat(64),
    };
    let outputs = vec![file("model.glb", "glb"), file("preview.png", "png"), file("manifest.json", "json")];
    complete(&mut job, &Product { folder: folder.clone(), outputs, ..Product::since(now) });
    api.replace_status(&name, &PostParams::default(), &job).await?;
    Ok(())
}
