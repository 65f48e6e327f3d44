//! What `generate` and `variant` have in common: options, the run, the report.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::Serialize;
use trellis::Result;
use trellis::pipeline::{Asset, Input, Options, Quality, Request, StageOptions};
use trellis::sampler::MultiImage;

use crate::model::ModelArguments;
use crate::progress::Bar;
use crate::save::{SaveArguments, Saved};

#[derive(Debug, clap::Args)]
pub(crate) struct RequestArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    save: SaveArguments,
    /// The same seed gives the same assets.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many assets are made, 1 to 4; files of several are numbered.
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// fast (12 steps), balanced (25) or high (50); the model's own steps where left out.
    #[arg(long)]
    quality: Option<Quality>,
    /// Steps of both stages; goes before --quality.
    #[arg(long)]
    steps: Option<usize>,
    /// How several photos are combined: each step follows one of them in turn, or the mean of all.
    #[arg(long, default_value = "stochastic")]
    multi_image: MultiImageName,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum MultiImageName {
    Stochastic,
    Multidiffusion,
}

/// What `--json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    seed: u64,
    assets: Vec<AssetReport>,
    load_milliseconds: u128,
    stages: Vec<StageReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AssetReport {
    sample: usize,
    voxels: usize,
    #[serde(flatten)]
    saved: Saved,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StageReport {
    stage: &'static str,
    milliseconds: u128,
}

pub(crate) fn run(input: Input, arguments: &RequestArguments) -> Result<()> {
    let plan = arguments.save.plan(arguments.samples)?;
    let bar = Bar::new();
    bar.say("load");
    let start = Instant::now();
    let pipeline = arguments.model.load()?;
    let load_milliseconds = start.elapsed().as_millis();

    let outputs = plan.outputs(&pipeline, arguments.quality);
    let request = Request { input, options: Options { outputs, ..arguments.options() } };
    let assets = pipeline.generate(&request, &mut |progress| {
        bar.tell(progress);
        ControlFlow::Continue(())
    })?;
    bar.say("save");
    let stages = assets.first().map(stages).unwrap_or_default();
    let peak_memory_bytes = assets.first().and_then(|asset| asset.peak_memory);
    let save = |asset: Asset| {
        let (sample, voxels) = (asset.sample, asset.voxels);
        Ok(AssetReport { sample, voxels, saved: plan.save(asset, arguments.quality)? })
    };
    let assets = assets.into_iter().map(save).collect::<Result<_>>()?;
    drop(bar);
    print(
        &Report { seed: arguments.seed, assets, load_milliseconds, stages, peak_memory_bytes },
        arguments.json,
    );
    Ok(())
}

impl RequestArguments {
    fn options(&self) -> Options {
        let stage = StageOptions { steps: self.steps, cfg_strength: None };
        Options {
            seed: self.seed,
            samples: self.samples,
            quality: self.quality,
            sparse_structure: stage,
            structured_latent: stage,
            multi_image: match self.multi_image {
                MultiImageName::Stochastic => MultiImage::Stochastic,
                MultiImageName::Multidiffusion => MultiImage::Multidiffusion,
            },
            ..Options::default()
        }
    }
}

fn stages(asset: &Asset) -> Vec<StageReport> {
    let report = |timing: &trellis::pipeline::StageTiming| StageReport {
        stage: timing.stage.name(),
        milliseconds: timing.duration.as_millis(),
    };
    asset.timings.iter().map(report).collect()
}

fn print(report: &Report, json: bool) {
    if json {
        // Strings, numbers and paths from the command line: nothing in it can fail to serialize but a path that is no UTF-8.
        match serde_json::to_string(report) {
            Ok(json) => println!("{json}"),
            Err(error) => eprintln!("warning: no JSON report: {error}"),
        }
        return;
    }
    for file in report.assets.iter().flat_map(|asset| &asset.saved.files) {
        println!("{}: {}, {} bytes", file.path.display(), file.content, file.bytes);
    }
    let total: u128 = report.stages.iter().map(|stage| stage.milliseconds).sum();
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let memory = report.peak_memory_bytes.map(|bytes| format!(", {:.1} GiB of memory held", gib(bytes)));
    println!("made in {:.1} s (seed {}){}", total as f64 / 1000.0, report.seed, memory.unwrap_or_default());
}
