//! `trellis bench`: how long each stage takes.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use trellis::asset::{formats, render};
use trellis::device::DeviceChoice;
use trellis::pipeline::{Input, LoadOptions, Options, Pipeline, Quality, Request};
use trellis::{Error, Result};

use crate::generate::{PREVIEW_SIDE, read};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A photo with a transparent background.
    photo: PathBuf,
    /// The model folder, in the released layout.
    #[arg(long)]
    model: PathBuf,
    /// Counted runs; one more goes before them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// fast (12 steps), balanced (25) or high (50); the model's own steps where left out.
    #[arg(long)]
    quality: Option<Quality>,
    /// Where to compute: auto, cpu, cuda or cuda:<index>.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
}

/// One stage's times, one of each run.
struct Row {
    stage: &'static str,
    times: Vec<Duration>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let photo = read(&arguments.photo)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut record = |stage, time| match rows.iter_mut().find(|row| row.stage == stage) {
        Some(row) => row.times.push(time),
        None => rows.push(Row { stage, times: vec![time] }),
    };

    let start = Instant::now();
    let load = LoadOptions { device: arguments.device, ..LoadOptions::default() };
    let pipeline = Pipeline::load(&arguments.model, load)?;
    record("load", start.elapsed());

    let options = Options { quality: arguments.quality, ..Options::default() };
    let request = Request { input: Input::Images(vec![photo]), options };
    // The first run also pays for what libtorch sets up once.
    for run in 0..=arguments.runs {
        let start = Instant::now();
        let assets = pipeline.generate(&request, &mut |_| ControlFlow::Continue(()))?;
        let generated = start.elapsed();
        let asset = assets.first().ok_or(Error::Empty("no surface"))?;
        let mesh = asset.mesh.as_ref().ok_or(Error::Empty("no surface"))?;
        formats::glb::write(mesh)?;
        let exported = start.elapsed();
        render::preview(mesh, PREVIEW_SIDE)?;
        let total = start.elapsed();
        if run > 0 {
            asset.timings.iter().for_each(|timing| record(timing.stage.name(), timing.duration));
            record("glb", exported - generated);
            record("preview", total - exported);
            record("total", total);
        }
    }
    print(&mut rows);
    Ok(())
}

fn print(rows: &mut [Row]) {
    println!("{:<20} {:>10} {:>10} {:>10}", "milliseconds", "median", "min", "max");
    for Row { stage, times } in rows {
        times.sort();
        let milliseconds = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        println!(
            "{stage:<20} {:>10.1} {:>10.1} {:>10.1}",
            milliseconds(times.get(times.len() / 2)),
            milliseconds(times.first()),
            milliseconds(times.last())
        );
    }
}
