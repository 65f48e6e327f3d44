//! `trellis generate`: a photo in, an asset file out.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use trellis::asset::Mesh;
use trellis::asset::{formats, render};
use trellis::device::DeviceChoice;
use trellis::pipeline::{
    Asset, Input, LoadOptions, Options, Pipeline, Precision, Progress, Quality, Request, StageOptions,
};
use trellis::{Error, Result, image};

/// Side of the preview in pixels.
pub(crate) const PREVIEW_SIDE: u32 = 512;
const BAR_LENGTH: u64 = 1000;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Photos of one object: PNG or WebP with a transparent background.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// The model folder, in the released layout.
    #[arg(long)]
    model: PathBuf,
    /// The GLB file to write.
    #[arg(short, long)]
    output: PathBuf,
    /// A PNG of the asset to write.
    #[arg(long)]
    preview: Option<PathBuf>,
    /// The same seed gives the same asset.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// fast (12 steps), balanced (25) or high (50); the model's own steps where left out.
    #[arg(long)]
    quality: Option<Quality>,
    /// Steps of both stages; goes before --quality.
    #[arg(long)]
    steps: Option<usize>,
    /// Where to compute: auto, cpu, cuda or cuda:<index>.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// How precisely to compute; f16 on CUDA and f32 on the CPU where left out.
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum PrecisionName {
    F32,
    F16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::F16 => Self::F16,
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    output: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<&'a Path>,
    bytes: usize,
    seed: u64,
    voxels: usize,
    vertices: usize,
    faces: usize,
    load_milliseconds: u128,
    stages: Vec<StageReport>,
}

#[derive(Serialize)]
struct StageReport {
    stage: &'static str,
    milliseconds: u128,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Read first: a mistyped file name should not cost the loading of a model.
    let photos = arguments.photos.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let bar = progress_bar();

    bar.set_message("load");
    let start = Instant::now();
    let options = LoadOptions {
        device: arguments.device,
        precision: arguments.precision.map(Into::into),
        ..LoadOptions::default()
    };
    let pipeline = Pipeline::load(&arguments.model, options)?;
    let load_milliseconds = start.elapsed().as_millis();

    let request = Request { input: Input::Images(photos), options: arguments.options() };
    let assets = pipeline.generate(&request, &mut |Progress { stage, fraction }| {
        bar.set_message(stage.name().replace('_', " "));
        bar.set_position((fraction * BAR_LENGTH as f32) as u64);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();

    let asset = assets.first().ok_or(Error::Empty("no surface"))?;
    let mesh = asset.mesh.as_ref().ok_or(Error::Empty("no surface"))?;
    let glb = formats::glb::write(mesh)?;
    fs::write(&arguments.output, &glb).map_err(Error::io(&arguments.output))?;
    if let Some(path) = &arguments.preview {
        fs::write(path, render::preview(mesh, PREVIEW_SIDE)?).map_err(Error::io(path))?;
    }
    print(arguments, asset, mesh, glb.len(), load_milliseconds);
    Ok(())
}

impl Arguments {
    fn options(&self) -> Options {
        let stage = StageOptions { steps: self.steps, cfg_strength: None };
        Options {
            seed: self.seed,
            quality: self.quality,
            sparse_structure: stage,
            structured_latent: stage,
            ..Options::default()
        }
    }
}

/// Decodes a photo; an error names the file.
pub(crate) fn read(path: &Path) -> Result<::image::RgbaImage> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    image::decode(&bytes).map_err(|error| match error {
        Error::InvalidInput(message) => Error::InvalidInput(format!("{}: {message}", path.display())),
        other => other,
    })
}

/// On standard error, and nowhere when that is no terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed:>4} {bar:40} {percent:>3} % {msg}");
    ProgressBar::new(BAR_LENGTH).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(arguments: &Arguments, asset: &Asset, mesh: &Mesh, bytes: usize, load_milliseconds: u128) {
    let (vertices, faces) = (mesh.vertices.len(), mesh.faces.len());
    let stages: Vec<_> = asset
        .timings
        .iter()
        .map(|timing| StageReport { stage: timing.stage.name(), milliseconds: timing.duration.as_millis() })
        .collect();
    if !arguments.json {
        let total: u128 = stages.iter().map(|stage| stage.milliseconds).sum();
        println!(
            "{}: {vertices} vertices, {faces} faces, {bytes} bytes, made in {:.1} s (seed {})",
            arguments.output.display(),
            total as f64 / 1000.0,
            asset.seed
        );
        return;
    }
    let report = Report {
        output: &arguments.output,
        preview: arguments.preview.as_deref(),
        bytes,
        seed: asset.seed,
        voxels: asset.voxels,
        vertices,
        faces,
        load_milliseconds,
        stages,
    };
    // Strings, numbers and paths from the command line: nothing in it can fail to serialize but a path that is no UTF-8.
    match serde_json::to_string(&report) {
        Ok(json) => println!("{json}"),
        Err(error) => eprintln!("warning: no JSON report: {error}"),
    }
}
