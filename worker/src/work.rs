//! The work of an attempt: fetch the input, make the asset, store its files.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;
use trellis_crds::GenerationJob;

use crate::attempt::Context;
use crate::failure::Failure;
use crate::model::timed;
use crate::order::{Order, sources};
use crate::status::{self, Period, Product};
use crate::upload::Folder;

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) stage: &'static str,
    /// Of the whole attempt, 0 to 100.
    pub(crate) percent: i32,
}

const FETCH: &str = "fetch";
const UPLOAD: &str = "upload";

impl Default for Progress {
    fn default() -> Self {
        Self { stage: FETCH, percent: 0 }
    }
}

/// Does the work. `None` when it was cancelled.
pub(crate) async fn run(
    context: Arc<Context>,
    job: GenerationJob,
    attempt: i32,
    start: Timestamp,
    progress: Sender<Progress>,
    cancel: CancellationToken,
) -> Result<Option<Product>, Failure> {
    let order = Order::of(&job.spec)?;
    let folder = Folder::of(&job, attempt, &context.output_uri)?;
    let mut timings = Vec::new();

    let began = Instant::now();
    let namespace = job.namespace().unwrap_or_default();
    let fetch = context.fetcher.all(&namespace, sources(&job.spec));
    let Some(files) = cancel.run_until_cancelled(fetch).await else { return Ok(None) };
    let files = files?;
    timings.push(timed(FETCH, began.elapsed()));

    let Some(asset) = context.model.make(&order, files, progress.clone(), cancel.clone()).await? else {
        return Ok(None);
    };
    timings.extend(asset.timings);
    let peak_memory = asset.peak_memory.and_then(|bytes| i64::try_from(bytes).ok());

    let began = Instant::now();
    progress.send_replace(Progress { stage: UPLOAD, percent: 95 });
    let store = folder.store(&context.storage, asset.files);
    let Some(outputs) = cancel.run_until_cancelled(store).await else { return Ok(None) };
    let outputs = outputs?;
    timings.push(timed(UPLOAD, began.elapsed()));
    context.metrics.timed(&timings);

    let period = Period { start, end: Timestamp::now() };
    let mut product = Product {
        period,
        folder: folder.uri.to_string(),
        outputs,
        timings,
        peak_memory,
        seed: order.seed.into(),
    };
    let mut completed = job;
    status::complete(&mut completed, &product);
    product.outputs.push(folder.store_manifest(&context.storage, &completed).await?);
    Ok(Some(product))
}
