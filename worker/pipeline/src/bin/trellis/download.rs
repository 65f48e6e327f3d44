//! `trellis download`: a released model, and what it needs, from the Hugging Face Hub.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use trellis::Result;
use trellis::download::{Progress, Repository, download};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The model, like microsoft/TRELLIS-image-large or microsoft/TRELLIS-text-xlarge.
    repository: Repository,
    /// The folder of all models; this one goes to <owner>/<name> in it, and other models' decoders that it shares to theirs.
    #[arg(long, default_value = "models")]
    to: PathBuf,
    /// Print what was fetched as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template(
            "{msg:<44} {bar:24} {bytes:>10} of {total_bytes:>10} {bytes_per_sec:>12} {eta:>4}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut file_shown = String::new();
    let report = download(&arguments.repository, &arguments.to, &mut |Progress { file, done, of }| {
        if file_shown != file {
            file_shown = file.to_owned();
            bar.reset();
            bar.set_length(of);
            bar.set_message(file_shown.clone());
        }
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let folder = report.folder.display();
    if arguments.json {
        println!(
            "{}",
            json!({"folder": folder.to_string(), "files": report.files, "fetchedBytes": report.fetched})
        );
    } else {
        println!(
            "{folder}: {} files, {} bytes fetched; trellis inspect {folder} says what it holds",
            report.files, report.fetched
        );
    }
    Ok(())
}
