//! What is measured, with a real API server and simulated workers: the operator, and the REST API.

pub mod api;
pub mod operator;

use std::fmt::{self, Display};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Prints the figures as a table, and writes them to the file `out` as JSON.
///
/// # Errors
/// When the file cannot be written.
#[expect(clippy::print_stdout, reason = "the table is what the programs are for")]
pub fn publish(figures: &(impl Display + Serialize), out: &Path) -> Result<()> {
    println!("{figures}");
    let folder = out.parent().context("--out names no file")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    std::fs::write(out, serde_json::to_vec_pretty(figures)?)
        .with_context(|| format!("cannot write {}", out.display()))?;
    println!("The figures are in {}.", out.display());
    Ok(())
}

/// Writes a row of a table, where there is a figure for it.
fn row(to: &mut fmt::Formatter<'_>, cells: &[&str], here: Option<String>) -> fmt::Result {
    match here {
        Some(here) => writeln!(to, "| {} | {here} |", cells.join(" | ")),
        None => Ok(()),
    }
}
