//! Other programs, run to their end.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::steps::Line;

/// A command of `program` whose standard output is kept and whose end with an error is an error here.
pub(crate) fn command(program: impl AsRef<OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command and returns what it printed.
///
/// # Errors
/// Fails with what it said on its standard error when it cannot be started or ends with an error.
pub(crate) async fn output(mut command: Command) -> Result<String> {
    let shown = shown(&command);
    let output = command.output().await.with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command that reads `input`.
///
/// # Errors
/// As [`output`].
pub(crate) async fn output_with_input(mut command: Command, input: &str) -> Result<String> {
    let shown = shown(&command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.with_context(|| format!("cannot write to {shown}"))?;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{shown} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a long command; the last line it wrote on its standard error is shown beside the step's title.
///
/// # Errors
/// Fails with the end of what it said when it cannot be started or ends with an error.
pub(crate) async fn watched(mut command: Command, line: &Line) -> Result<()> {
    let shown = shown(&command);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {shown}"))?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        while let Some(text) = lines.next_line().await? {
            line.say(text.trim());
            said.push(text);
        }
    }
    if !child.wait().await?.success() {
        bail!("{shown} failed:\n{}", said[said.len().saturating_sub(30)..].join("\n"));
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
