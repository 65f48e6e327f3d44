//! `trellis inspect`: what a model folder is, what it lacks, how much memory it takes.

use std::path::PathBuf;

use serde::Serialize;
use trellis::pipeline::{Memory, ModelFolder, Role};
use trellis::sampler::Sampling;
use trellis::weights::TensorFile;
use trellis::{Error, Result};

/// The voxels of an object that is neither small nor large.
const TYPICAL_VOXELS: i64 = 20_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A model folder in the released layout.
    folder: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    folder: PathBuf,
    input: &'static str,
    sparse_structure: Steps,
    structured_latent: Steps,
    models: Vec<Model>,
    /// Bytes on a GPU in half precision; none where a model cannot be used.
    weights_bytes: Option<u64>,
    /// What making an object of typical size takes besides.
    request_bytes: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Steps {
    steps: usize,
    cfg_strength: f64,
    cfg_interval: (f64, f64),
    rescale_t: f64,
}

impl From<Sampling> for Steps {
    fn from(Sampling { steps, cfg_strength, cfg_interval, rescale_t }: Sampling) -> Self {
        Self { steps, cfg_strength, cfg_interval, rescale_t }
    }
}

#[derive(Serialize)]
struct Model {
    role: &'static str,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
enum State {
    Usable { class: String, parameters: i64, bytes: usize },
    Unusable { reason: String },
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = ModelFolder::open(&arguments.folder)?;
    let report = inspect(&folder);
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report).map_err(|error| Error::Asset(error.to_string()))?
        );
    } else {
        print(&report);
    }
    let unusable = report.models.iter().filter(|model| matches!(model.state, State::Unusable { .. })).count();
    if unusable == 0 {
        return Ok(());
    }
    Err(Error::model(
        folder.root(),
        format!(
            "{unusable} of {} models cannot be used; `trellis download` fetches released models, and what of them is missing or damaged",
            report.models.len()
        ),
    ))
}

fn inspect(folder: &ModelFolder) -> Report {
    let model = |role: Role| {
        let state = state(folder, role).unwrap_or_else(|error| State::Unusable { reason: error.to_string() });
        Model { role: role.key(), state }
    };
    let memory = folder.memory(TYPICAL_VOXELS).ok();
    Report {
        folder: folder.root().to_owned(),
        input: folder.modality().name(),
        sparse_structure: folder.sparse_structure_sampling().into(),
        structured_latent: folder.slat_sampling().into(),
        models: folder.roles().map(model).collect(),
        weights_bytes: memory.map(|Memory { weights, .. }| weights),
        request_bytes: memory.map(|Memory { request, .. }| request),
    }
}

fn state(folder: &ModelFolder, role: Role) -> Result<State> {
    let checkpoint = folder.checkpoint(role)?;
    let file = TensorFile::open(checkpoint.weights_path())?;
    folder.check(role)?;
    let parameters = file.shapes().map(|(_, shape)| shape.iter().product::<i64>()).sum();
    Ok(State::Usable { class: checkpoint.class().to_owned(), parameters, bytes: file.bytes() })
}

fn print(report: &Report) {
    println!("{}: a model that takes {} input", report.folder.display(), report.input);
    for (stage, Steps { steps, cfg_strength, cfg_interval: (low, high), rescale_t }) in
        [("sparse structure", &report.sparse_structure), ("structured latent", &report.structured_latent)]
    {
        println!(
            "  samples the {stage} in {steps} steps, guidance {cfg_strength} for t in [{low}, {high}], rescale {rescale_t}"
        );
    }
    for Model { role, state } in &report.models {
        match state {
            State::Usable { class, parameters, bytes } => {
                println!("  {role:<28} {class:<24} {parameters:>11} parameters {bytes:>11} bytes");
            }
            State::Unusable { reason } => println!("  {role:<28} unusable: {reason}"),
        }
    }
    if let (Some(weights), Some(request)) = (report.weights_bytes, report.request_bytes) {
        println!(
            "  takes {} of a GPU's memory, and {} more for an object of {TYPICAL_VOXELS} voxels",
            gib(weights),
            gib(request)
        );
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
