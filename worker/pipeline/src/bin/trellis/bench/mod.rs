//! `trellis bench`: how long each stage takes.

mod clock;
mod request;
mod shape;
mod soak;
mod stages;
mod table;

use std::fmt::Display;
use std::path::PathBuf;

use serde::Serialize;
use trellis::device::DeviceChoice;
use trellis::pipeline::{LoadOptions, Quality};
use trellis::{Error, Result};

use crate::model::PrecisionName;
use shape::ShapeName;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A photo with a transparent background, to time whole requests.
    #[arg(required_unless_present = "random_weights", conflicts_with = "random_weights")]
    photo: Option<PathBuf>,
    /// The model folder, in the released layout.
    #[arg(long, required_unless_present = "random_weights", conflicts_with = "random_weights")]
    model: Option<PathBuf>,
    /// Time the networks alone, with random weights in the sizes of --shape, beside the reference implementation's figures.
    #[arg(long)]
    random_weights: bool,
    /// The sizes of networks with random weights.
    #[arg(long, default_value = "image-large", requires = "random_weights")]
    shape: ShapeName,
    /// Instead make this many objects with networks of random weights, one after the other and none like the one before, and show
    /// what memory is held.
    #[arg(long, requires = "random_weights", conflicts_with_all = ["only", "runs"], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    soak: Option<u32>,
    /// Compute so many objects together, in the stages that requests share.
    #[arg(long, default_value_t = 1, requires = "random_weights", conflicts_with = "soak", value_parser = clap::value_parser!(i64).range(1..=64))]
    batch: i64,
    /// Only stages of networks in whose name this occurs.
    #[arg(long, default_value = "", requires = "random_weights")]
    only: String,
    /// Counted runs; others go before them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// fast (12 steps), balanced (25) or high (50); the model's own steps where left out.
    #[arg(long, conflicts_with = "random_weights")]
    quality: Option<Quality>,
    /// Where to compute: auto, cpu, cuda or cuda:<index>.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// How precisely to compute; f16 on CUDA and f32 on the CPU where left out.
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let load = LoadOptions {
        device: arguments.device,
        precision: arguments.precision.map(Into::into),
        ..LoadOptions::default()
    };
    match (&arguments.photo, &arguments.model, arguments.soak) {
        (Some(photo), Some(model), _) => {
            arguments.print(&request::run(photo, model, load, arguments.quality, arguments.runs)?)
        }
        (.., Some(count)) => {
            arguments.print(&soak::run(&arguments.shape.shape()?, load.placement()?, count)?)
        }
        _ => {
            let shape = arguments.shape.shape()?;
            arguments.print(&stages::run(
                &shape,
                load.placement()?,
                arguments.runs,
                &arguments.only,
                arguments.batch,
            )?)
        }
    }
}

impl Arguments {
    fn print(&self, figures: &(impl Display + Serialize)) -> Result<()> {
        if !self.json {
            print!("{figures}");
            return Ok(());
        }
        let json = serde_json::to_string_pretty(figures);
        println!("{}", json.map_err(|error| Error::Asset(format!("the figures are no JSON: {error}")))?);
        Ok(())
    }
}
