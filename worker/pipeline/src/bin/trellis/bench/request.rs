//! Whole requests to a model in a folder.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use trellis::asset::formats::{self, Format};
use trellis::asset::render;
use trellis::pipeline::{Input, LoadOptions, Options, Pipeline, Quality, Request};
use trellis::{Error, Result};

use super::table::{Report, Row};
use crate::generate::{PREVIEW_SIDE, read};

pub(super) fn run(
    photo: &Path,
    model: &Path,
    load: LoadOptions,
    quality: Option<Quality>,
    runs: u32,
) -> Result<Report> {
    let photo = read(photo)?;
    let mut stages: Vec<(&'static str, Vec<Duration>)> = Vec::new();
    let mut record = |stage, time| match stages.iter_mut().find(|(name, _)| *name == stage) {
        Some((_, times)) => times.push(time),
        None => stages.push((stage, vec![time])),
    };

    let start = Instant::now();
    let pipeline = Pipeline::load(model, load)?;
    record("load", start.elapsed());

    let options = Options { quality, ..Options::default() };
    let request = Request { input: Input::Images(vec![photo]), options };
    // The first run also pays for what libtorch sets up once.
    for run in 0..=runs {
        let start = Instant::now();
        let assets = pipeline.generate(&request, &mut |_| ControlFlow::Continue(()))?;
        let generated = start.elapsed();
        let asset = assets.first().ok_or(Error::Empty("no surface"))?;
        let mesh = asset.mesh.as_ref().ok_or(Error::Empty("no surface"))?;
        formats::write(mesh, Format::Glb, &formats::Options::default())?;
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
    let rows = stages.into_iter().map(|(stage, times)| Row::new(stage.to_owned(), times)).collect();
    Ok(Report { setting: format!("whole requests, {runs} runs"), rows })
}
