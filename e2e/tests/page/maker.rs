//! Simulated workers' engine: it makes no asset of its input, but the files it leaves are real.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use trellis_asset::formats::{self, Format, Options};
use trellis_asset::render;
use trellis_crds::{FailureReason, OutputFile};
use trellis_worker_core::{Engine, Failure, Product, Progress, Work};

use crate::cup::cup;

/// Jobs with this seed run until they are stopped.
const HOLDS: i64 = 1;
/// The first attempt at a job with this seed fails.
const FAILS: i64 = 2;

/// How long each stage takes.
const STAGE: Duration = Duration::from_millis(20);

const STAGES: [Progress; 4] = [
    Progress { stage: "encode", percent: 5 },
    Progress { stage: "sparse_structure", percent: 20 },
    Progress { stage: "structured_latent", percent: 62 },
    Progress { stage: "mesh", percent: 90 },
];

/// Makes a cup, whatever it is asked for. The seed says how it goes.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    outputs: PathBuf,
    files: Arc<Vec<(Format, Vec<u8>)>>,
    preview: Arc<Vec<u8>>,
}

impl Maker {
    /// One that leaves its files below `outputs`.
    pub(crate) fn new(outputs: PathBuf) -> Self {
        let mesh = cup();
        let wanted = [Format::Glb, Format::Obj, Format::Ply, Format::Stl, Format::Usdz];
        let write = |format| (format, formats::write(&mesh, format, &Options::default()).unwrap());
        let preview = render::preview(&mesh, 256).unwrap().into();
        Self { outputs, files: Arc::new(wanted.map(write).into()), preview }
    }

    fn product(&self, work: &Work) -> Product {
        let folder = self.outputs.join(work.job.folder_of_attempt(work.attempt));
        std::fs::create_dir_all(&folder).unwrap();
        let formats = &work.job.spec.output.formats;
        let named = |format: Format| formats.iter().any(|wanted| json!(wanted) == format.name());
        let mut outputs = vec![];
        for sample in 0..work.job.spec.sampling.samples {
            let number =
                if work.job.spec.sampling.samples > 1 { format!("-{sample}") } else { String::new() };
            let models = self.files.iter().filter(|(format, _)| named(*format));
            outputs.extend(models.map(|(format, bytes)| {
                store(&folder, &format!("model{number}.{}", format.extension()), format.name(), bytes)
            }));
            outputs.push(store(&folder, &format!("preview{number}.png"), "png", &self.preview));
        }
        let folder = format!("file://{}", folder.display());
        let seed = work.job.spec.sampling.seed.unwrap_or(7);
        Product { folder, outputs, seed, ..Product::since(work.start) }
    }
}

fn store(folder: &Path, name: &str, format: &str, bytes: &[u8]) -> OutputFile {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    OutputFile {
        format: format.into(),
        uri: format!("file://{}", path.display()),
        bytes: bytes.len().try_into().unwrap(),
        sha256: hex::encode(Sha256::digest(bytes)),
    }
}

impl Engine for Maker {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        let seed = work.job.spec.sampling.seed;
        if seed == Some(HOLDS) {
            work.progress.send_replace(STAGES[2]);
            work.cancel.cancelled().await;
            return Ok(None);
        }
        for stage in STAGES {
            work.progress.send_replace(stage);
            if work.cancel.run_until_cancelled(tokio::time::sleep(STAGE)).await.is_none() {
                return Ok(None);
            }
        }
        if seed == Some(FAILS) && work.attempt == 1 {
            let message = "The picture shows no object that stands out from its background.".into();
            return Err(Failure { reason: FailureReason::InvalidInput, message });
        }
        Ok(Some(self.product(&work)))
    }
}
