//! The model, kept in memory from job to job.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch::Sender;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use trellis::asset::formats;
use trellis::device::DeviceChoice;
use trellis::pipeline::{Input, LoadOptions, Options, Pipeline, Request, StageOptions};
use trellis::sampler::MultiImage;
use trellis_crds::{MultiImageMode, StageTiming};
use trellis_worker_core::{Failure, Progress};

use crate::failure::of_model;
use crate::order::{self, Order, Sampling};
use crate::upload::File;

/// The preview's edge in pixels.
const PREVIEW_SIZE: u32 = 512;

/// The model. Clones are the same one; it makes one batch of assets at a time.
#[derive(Clone)]
pub(crate) struct Model(Arc<Mutex<Pipeline>>);

/// What the model made of a job.
pub(crate) struct Asset {
    pub(crate) files: Vec<File>,
    pub(crate) timings: Vec<StageTiming>,
    /// Of the device, in bytes.
    pub(crate) peak_memory: Option<u64>,
}

impl Model {
    /// Loads the model of a folder, which takes as long as reading its gigabytes.
    pub(crate) async fn load(folder: PathBuf, device: DeviceChoice) -> anyhow::Result<Self> {
        let options = LoadOptions { device, ..LoadOptions::default() };
        let pipeline = spawn_blocking(move || Pipeline::load(&folder, options)).await??;
        Ok(Self(Arc::new(Mutex::new(pipeline))))
    }

    /// Makes the files of several orders, in the same forward passes as far as they fit together. `None` for one that was cancelled.
    pub(crate) async fn make(&self, tasks: Vec<Task>) -> Vec<Result<Option<Asset>, Failure>> {
        let (pipeline, span, count) = (self.0.clone(), tracing::Span::current(), tasks.len());
        let make = move || {
            let _in_job = span.enter();
            // A panic in an earlier job leaves the weights as they were: nothing changes them.
            let pipeline = pipeline.lock().unwrap_or_else(PoisonError::into_inner);
            make(&pipeline, &tasks)
        };
        let told = |made: trellis::Result<Asset>| match made {
            Ok(asset) => Ok(Some(asset)),
            Err(error) => of_model(&error).map_or(Ok(None), Err),
        };
        match spawn_blocking(make).await {
            Ok(made) => made.into_iter().map(told).collect(),
            Err(panic) => (0..count).map(|_| Err(Failure::internal(&panic))).collect(),
        }
    }
}

/// An order with its files, and whom to tell about it.
pub(crate) struct Task {
    pub(crate) order: Order,
    pub(crate) files: Vec<Bytes>,
    pub(crate) progress: Sender<Progress>,
    pub(crate) cancel: CancellationToken,
}

fn make(pipeline: &Pipeline, tasks: &[Task]) -> Vec<trellis::Result<Asset>> {
    let requests: Vec<_> = tasks.iter().map(|task| request(pipeline, task)).collect();
    let good: Vec<_> = requests.iter().filter_map(|request| request.as_ref().ok()).collect();
    let mut observe = |now: trellis::pipeline::Progress| {
        for task in tasks {
            task.progress.send_replace(Progress { stage: now.stage.name(), percent: percent(now.fraction) });
        }
        // Who is cancelled alone leaves the others alone.
        if tasks.iter().all(|task| task.cancel.is_cancelled()) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let mut generated = pipeline.generate_batch(&good, &mut observe).into_iter();
    let finish_one = |(task, request): (&Task, trellis::Result<Request>)| {
        request?;
        let assets = generated.next().unwrap_or(Err(trellis::Error::Cancelled))?;
        if task.cancel.is_cancelled() {
            return Err(trellis::Error::Cancelled);
        }
        finish(&task.order, assets)
    };
    drop(good);
    tasks.iter().zip(requests).map(finish_one).collect()
}

fn request(pipeline: &Pipeline, Task { order, files, .. }: &Task) -> trellis::Result<Request> {
    let input = input(order, files)?;
    let outputs = order.finish.outputs(&order.formats, pipeline.decoders().has_gaussians());
    Ok(Request { input, options: Options { outputs, ..options(order) } })
}

/// Makes the files of an order's assets.
fn finish(order: &Order, assets: Vec<trellis::pipeline::Asset>) -> trellis::Result<Asset> {
    let mut made = Asset { files: Vec::new(), timings: Vec::new(), peak_memory: None };
    if let Some(first) = assets.first() {
        made.peak_memory = first.peak_memory;
        made.timings.extend(first.timings.iter().map(|timing| timed(timing.stage.name(), timing.duration)));
    }
    let (mut finish, mut export, mut preview) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for asset in assets {
        let name = if order.samples > 1 { format!("-{}", asset.sample) } else { String::new() };
        let finished = order.finish.apply(asset)?;
        finish += finished.duration;
        let began = Instant::now();
        for &format in &order.formats {
            let content = finished.file(format)?.into();
            let file = format!("model{name}.{}", format.extension());
            made.files.push(File { name: file, format: format.name(), content });
        }
        export += began.elapsed();
        if order.preview {
            let began = Instant::now();
            let png = trellis::asset::render::preview(finished.look()?, PREVIEW_SIZE)?;
            made.files.push(File { name: format!("preview{name}.png"), format: "png", content: png.into() });
            preview += began.elapsed();
        }
    }
    made.timings.extend([timed("finish", finish), timed("export", export)]);
    if order.preview {
        made.timings.push(timed("preview", preview));
    }
    Ok(made)
}

/// What the model is given of a job's files.
fn input(order: &Order, files: &[Bytes]) -> trellis::Result<Input> {
    match &order.input {
        order::Input::Images(_) => {
            let images = files.iter().map(|image| trellis::image::decode(image)).collect::<Result<_, _>>()?;
            Ok(Input::Images(images))
        }
        order::Input::Text(prompt) => Ok(Input::Text(prompt.clone())),
        order::Input::Variant(format, prompt) => {
            let file = files.first().map(|file| &file[..]).unwrap_or_default();
            match formats::read(file, *format)? {
                formats::Asset::Mesh(mesh) => {
                    Ok(Input::Variant { mesh: Box::new(mesh), prompt: prompt.clone() })
                }
                formats::Asset::Gaussians(_) => Err(trellis::Error::InvalidInput(
                    "spec.input.variant.mesh holds Gaussians; a variant needs a mesh".into(),
                )),
            }
        }
    }
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
        samples: order.samples,
        multi_image: match &order.input {
            order::Input::Images(MultiImageMode::Multidiffusion) => MultiImage::Multidiffusion,
            _ => MultiImage::Stochastic,
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
