//! The model, kept in memory from job to job.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch::Sender;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use trellis::device::DeviceChoice;
use trellis::pipeline::{Input, LoadOptions, Options, Pipeline, Request, StageOptions};
use trellis::sampler::MultiImage;
use trellis_crds::{MultiImageMode, StageTiming};

use crate::failure::Failure;
use crate::order::{Order, Sampling};
use crate::upload::File;
use crate::work::Progress;

/// The preview's edge in pixels.
const PREVIEW_SIZE: u32 = 512;

/// The model. Clones are the same one; it makes one asset at a time.
#[derive(Clone)]
pub(crate) struct Model(Arc<Mutex<Pipeline>>);

/// What the model made of a job.
pub(crate) struct Asset {
    pub(crate) files: Vec<File>,
    pub(crate) timings: Vec<StageTiming>,
}

impl Model {
    /// Loads the model of a folder, which takes as long as reading its gigabytes.
    pub(crate) async fn load(folder: PathBuf, device: DeviceChoice) -> anyhow::Result<Self> {
        let options = LoadOptions { device, ..LoadOptions::default() };
        let pipeline = spawn_blocking(move || Pipeline::load(&folder, options)).await??;
        Ok(Self(Arc::new(Mutex::new(pipeline))))
    }

    /// Makes the files of an order. `None` when it was cancelled.
    pub(crate) async fn make(
        &self,
        order: &Order,
        images: Vec<Bytes>,
        progress: Sender<Progress>,
        cancel: CancellationToken,
    ) -> Result<Option<Asset>, Failure> {
        let (pipeline, order, span) = (self.0.clone(), order.clone(), tracing::Span::current());
        let make = move || {
            let _in_job = span.enter();
            // A panic in an earlier job leaves the weights as they were: nothing changes them.
            let pipeline = pipeline.lock().unwrap_or_else(PoisonError::into_inner);
            make(&pipeline, &order, &images, &progress, &cancel)
        };
        match spawn_blocking(make).await {
            Ok(Ok(asset)) => Ok(Some(asset)),
            Ok(Err(error)) => Failure::of_model(&error).map_or(Ok(None), Err),
            Err(panic) => Err(Failure::internal(&panic)),
        }
    }
}

fn make(
    pipeline: &Pipeline,
    order: &Order,
    images: &[Bytes],
    progress: &Sender<Progress>,
    cancel: &CancellationToken,
) -> trellis::Result<Asset> {
    let images = images.iter().map(|image| trellis::image::decode(image)).collect::<Result<Vec<_>, _>>()?;
    let mut observe = |now: trellis::pipeline::Progress| {
        progress.send_replace(Progress { stage: now.stage.name(), percent: percent(now.fraction) });
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let request = Request { input: Input::Images(images), options: options(order) };
    let assets = pipeline.generate(&request, &mut observe)?;
    let made = assets.first().ok_or(trellis::Error::Empty("no surface"))?;
    let mesh = made.mesh.as_ref().ok_or(trellis::Error::Empty("no surface"))?;
    let mut timings: Vec<_> =
        made.timings.iter().map(|timing| timed(timing.stage.name(), timing.duration)).collect();

    let began = Instant::now();
    let glb = trellis::asset::formats::glb::write(mesh)?;
    let mut files = vec![File { name: "model.glb".into(), format: "glb", content: glb.into() }];
    timings.push(timed("export", began.elapsed()));
    if order.preview {
        let began = Instant::now();
        let png = trellis::asset::render::preview(mesh, PREVIEW_SIZE)?;
        files.push(File { name: "preview.png".into(), format: "png", content: png.into() });
        timings.push(timed("preview", began.elapsed()));
    }
    Ok(Asset { files, timings })
}

/// The model's part of the whole attempt lies between fetching and storing.
fn percent(fraction: f32) -> i32 {
    (2.0 + 88.0 * fraction.clamp(0.0, 1.0)) as i32
}

fn options(order: &Order) -> Options {
    Options {
        seed: order.seed.into(),
        sparse_structure: stage(order.sparse_structure),
        structured_latent: stage(order.structured_latent),
        multi_image: match order.multi_image_mode {
            MultiImageMode::Stochastic => MultiImage::Stochastic,
            MultiImageMode::Multidiffusion => MultiImage::Multidiffusion,
        },
        ..Options::default()
    }
}

fn stage(Sampling { steps, cfg_strength }: Sampling) -> StageOptions {
    StageOptions { steps: usize::try_from(steps).ok(), cfg_strength }
}

/// How long a stage took.
pub(crate) fn timed(stage: &str, took: Duration) -> StageTiming {
    StageTiming { stage: stage.into(), milliseconds: i64::try_from(took.as_millis()).unwrap_or(i64::MAX) }
}
