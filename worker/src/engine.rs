//! The work of attempts: fetch the input, make the assets together, store their files.

use std::time::Instant;

use futures::future::{join, join_all};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tracing::Instrument;
use trellis_crds::{GenerationJob, StageTiming};
use trellis_storage::{ObjectUri, Storage};
use trellis_worker_core::{Engine, Failure, Made, Period, Product, Progress, Work, complete};

use crate::fetch::Fetcher;
use crate::model::{Asset, Model, Task, timed};
use crate::order::Order;
use crate::record;
use crate::upload::Folder;

const FETCH: &str = "fetch";
const UPLOAD: &str = "upload";

/// Makes assets with TRELLIS.
pub(crate) struct Trellis {
    pub(crate) fetcher: Fetcher,
    pub(crate) storage: Storage,
    pub(crate) output_uri: ObjectUri,
    pub(crate) model: Model,
}

impl Engine for Trellis {
    async fn run(&self, work: Work) -> Made {
        self.run_batch(vec![work]).await.pop().unwrap_or(Ok(None))
    }

    async fn run_batch(&self, works: Vec<Work>) -> Vec<Made> {
        let prepared =
            join_all(works.iter().map(|work| self.prepare(work).instrument(work.span.clone()))).await;
        let (mut tasks, mut began) = (Vec::new(), Vec::new());
        for prepared in prepared {
            began.push(prepared.map(|prepared| {
                prepared.map(|(task, begun)| {
                    tasks.push(task);
                    begun
                })
            }));
        }
        let mut assets = self.model.make(tasks).await.into_iter();
        let store = works.iter().zip(began).map(|(work, begun)| {
            let asset = if let Ok(Some(_)) = &begun { assets.next() } else { None };
            async move {
                match (begun?, asset.transpose()?.flatten()) {
                    (Some(begun), Some(asset)) => {
                        self.store(work, begun, asset).instrument(work.span.clone()).await
                    }
                    _ => Ok(None),
                }
            }
        });
        join_all(store).await
    }

    async fn keep_failure(&self, job: &GenerationJob) {
        join(
            record::store_failure(&self.storage, &self.output_uri, job),
            record::archive(&self.storage, &self.output_uri, job),
        )
        .await;
    }
}

/// What is known of an attempt before its asset is made.
struct Begun {
    folder: Folder,
    seed: u32,
    fetched: StageTiming,
}

impl Trellis {
    /// Checks the job, and brings its input. `None` when it was cancelled.
    async fn prepare(&self, work: &Work) -> Result<Option<(Task, Begun)>, Failure> {
        let Work { job, attempt, progress, cancel, .. } = work;
        let order = Order::of(&job.spec)?;
        let folder = Folder::of(job, *attempt, &self.output_uri)?;
        let began = Instant::now();
        let namespace = job.namespace().unwrap_or_default();
        let fetch = self.fetcher.all(&namespace, job.spec.input.sources());
        let Some(files) = cancel.run_until_cancelled(fetch).await else { return Ok(None) };
        let begun = Begun { folder, seed: order.seed, fetched: timed(FETCH, began.elapsed()) };
        let task = Task { order, files: files?, progress: progress.clone(), cancel: cancel.clone() };
        Ok(Some((task, begun)))
    }

    /// Stores the files of an asset, and the records of it. `None` when it was cancelled.
    async fn store(&self, work: &Work, begun: Begun, asset: Asset) -> Made {
        let Work { job, start, progress, cancel, .. } = work;
        let Begun { folder, seed, fetched } = begun;
        let mut timings = vec![fetched];
        timings.extend(asset.timings);
        let peak_memory = asset.peak_memory.and_then(|bytes| i64::try_from(bytes).ok());

        let began = Instant::now();
        progress.send_replace(Progress { stage: UPLOAD, percent: 95 });
        let store = folder.store(&self.storage, asset.files);
        let Some(outputs) = cancel.run_until_cancelled(store).await else { return Ok(None) };
        let outputs = outputs?;
        timings.push(timed(UPLOAD, began.elapsed()));

        let mut product = Product {
            period: Period { start: *start, end: Timestamp::now() },
            folder: folder.uri.to_string(),
            outputs,
            timings,
            peak_memory,
            seed: seed.into(),
        };
        let manifest = record::manifest(&completed(job, &product))?;
        product.outputs.extend(folder.store(&self.storage, vec![manifest]).await?);
        record::archive(&self.storage, &self.output_uri, &completed(job, &product)).await;
        Ok(Some(product))
    }
}

fn completed(job: &GenerationJob, product: &Product) -> GenerationJob {
    let mut job = job.clone();
    complete(&mut job, product);
    job
}
