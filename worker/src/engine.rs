//! The work of an attempt: fetch the input, make the asset, store its files.

use std::time::Instant;

use futures::future::join;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use trellis_crds::GenerationJob;
use trellis_storage::{ObjectUri, Storage};
use trellis_worker_core::{Engine, Failure, Period, Product, Progress, Work, complete};

use crate::fetch::Fetcher;
use crate::model::{Model, timed};
use crate::order::{Order, sources};
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
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        let Work { job, attempt, start, progress, cancel } = work;
        let order = Order::of(&job.spec)?;
        let folder = Folder::of(&job, attempt, &self.output_uri)?;
        let mut timings = Vec::new();

        let began = Instant::now();
        let namespace = job.namespace().unwrap_or_default();
        let fetch = self.fetcher.all(&namespace, sources(&job.spec));
        let Some(files) = cancel.run_until_cancelled(fetch).await else { return Ok(None) };
        let files = files?;
        timings.push(timed(FETCH, began.elapsed()));

        let Some(asset) = self.model.make(&order, files, progress.clone(), cancel.clone()).await? else {
            return Ok(None);
        };
        timings.extend(asset.timings);
        let peak_memory = asset.peak_memory.and_then(|bytes| i64::try_from(bytes).ok());

        let began = Instant::now();
        progress.send_replace(Progress { stage: UPLOAD, percent: 95 });
        let store = folder.store(&self.storage, asset.files);
        let Some(outputs) = cancel.run_until_cancelled(store).await else { return Ok(None) };
        let outputs = outputs?;
        timings.push(timed(UPLOAD, began.elapsed()));

        let mut product = Product {
            period: Period { start, end: Timestamp::now() },
            folder: folder.uri.to_string(),
            outputs,
            timings,
            peak_memory,
            seed: order.seed.into(),
        };
        let manifest = record::manifest(&completed(&job, &product))?;
        product.outputs.extend(folder.store(&self.storage, vec![manifest]).await?);
        record::archive(&self.storage, &self.output_uri, &completed(&job, &product)).await;
        Ok(Some(product))
    }

    async fn keep_failure(&self, job: &GenerationJob) {
        join(
            record::store_failure(&self.storage, &self.output_uri, job),
            record::archive(&self.storage, &self.output_uri, job),
        )
        .await;
    }
}

fn completed(job: &GenerationJob, product: &Product) -> GenerationJob {
    let mut job = job.clone();
    complete(&mut job, product);
    job
}
