//! Steps that say what they are doing while they do it.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Runs steps one after the other, shows each with its elapsed time, and remembers what each took.
#[derive(Debug, Default)]
pub struct Steps {
    taken: Vec<(String, Duration)>,
}

/// The line of the step that runs.
#[derive(Debug, Clone)]
pub struct Line {
    bar: ProgressBar,
    terminal: bool,
}

impl Line {
    fn start(title: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{spinner} {prefix} {msg:.dim} ({elapsed})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if !terminal {
            eprintln!("{title} ...");
        }
        Self { bar, terminal }
    }

    /// Says beside the title what is going on; where there is no terminal, on a line of its own when it is news.
    pub fn say(&self, message: &str) {
        if !self.terminal && self.bar.message() != message {
            eprintln!("  {message}");
        }
        self.bar.set_message(message.to_owned());
    }

    fn end(&self, title: &str, took: Duration, ended: &str) {
        self.bar.finish_and_clear();
        eprintln!("{title:<44} {ended} {:>6.1} s", took.as_secs_f64());
    }
}

impl Steps {
    /// Runs one step; `work` may say more on its line.
    ///
    /// # Errors
    /// Those of `work`, after the line has said that the step failed.
    pub async fn step<T>(&mut self, title: &str, work: impl AsyncFnOnce(Line) -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let line = Line::start(title);
        let result = work(line.clone()).await;
        line.end(title, start.elapsed(), if result.is_ok() { "done  " } else { "FAILED" });
        self.taken.push((title.to_owned(), start.elapsed()));
        result
    }

    /// How long all the steps took together.
    pub fn total(&self) -> Duration {
        self.taken.iter().map(|(_, took)| *took).sum()
    }
}
