//! Steps that say what they are doing while they do it.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// The line of the step that runs, where one runs and there is a terminal to show it on.
static LINE: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Says on standard error what is going on: beside the title of the step that runs, else on a line of its own.
pub fn say(message: impl Into<String>) {
    let message = message.into();
    match LINE.lock().ok().and_then(|line| line.clone()) {
        Some(line) => line.set_message(message),
        None => eprintln!("{message}"),
    }
}

/// Runs one step, shows it with its elapsed time, and says at the end what it took. What `work` [`say`]s stands beside the title.
///
/// # Errors
/// Those of `work`, after the line has said that the step failed.
pub async fn step<T>(title: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let start = Instant::now();
    begin(title);
    let result = work.await;
    if let Some(line) = LINE.lock().ok().and_then(|mut line| line.take()) {
        line.finish_and_clear();
    }
    let ended = if result.is_ok() { "done" } else { "FAILED" };
    eprintln!("{title:<44} {ended:<6} {:>6.1} s", start.elapsed().as_secs_f64());
    result
}

fn begin(title: &str) {
    if !std::io::stderr().is_terminal() {
        return eprintln!("{title} ...");
    }
    let line = ProgressBar::new_spinner().with_prefix(title.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg:.dim}") {
        line.set_style(style);
    }
    line.enable_steady_tick(Duration::from_millis(120));
    if let Ok(mut current) = LINE.lock() {
        *current = Some(line);
    }
}
