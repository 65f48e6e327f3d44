//! A progress bar on standard error, and nothing where that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};
use trellis::pipeline::Progress;

const LENGTH: u64 = 1000;

pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{elapsed:>4} {bar:40} {percent:>3} % {msg}");
        Self(ProgressBar::new(LENGTH).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// Says what is done beside generating.
    pub(crate) fn say(&self, doing: &'static str) {
        self.0.set_message(doing);
    }

    pub(crate) fn tell(&self, Progress { stage, fraction }: Progress) {
        self.0.set_message(stage.name().replace('_', " "));
        self.0.set_position((fraction * LENGTH as f32) as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
