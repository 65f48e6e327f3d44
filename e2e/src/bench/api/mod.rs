//! What the REST API can do, with a real API server: `make bench-api`.

mod events;
mod figures;
mod fill;
mod reads;
mod results;
mod site;
mod submit;

use std::time::Duration;

use anyhow::Result;

pub use figures::Figures;
use site::Site;

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Size {
    /// How many jobs there are; nine of ten are over.
    #[arg(long, default_value_t = 10_000)]
    jobs: usize,
    /// For how long each rate is measured, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many connections ask for statuses.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How many clients submit at a time.
    #[arg(long, default_value_t = 32)]
    submitters: usize,
    /// How many clients poll statuses at a time, and for how long, in seconds.
    #[arg(long, default_value_t = 1000)]
    pollers: usize,
    /// For how long they do, in seconds.
    #[arg(long, default_value_t = 60)]
    poll_seconds: u64,
    /// How many clients follow a stream of events each.
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// How large the result is that is fetched, in bytes.
    #[arg(long, default_value_t = 2_000_000)]
    result_bytes: usize,
}

impl Size {
    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// The parts of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Statuses from the cache, the memory with many jobs, and what polling costs the API server.
    Status,
    /// Jobs that are submitted.
    Submit,
    /// Streams of events of jobs that run.
    Events,
    /// Files that are fetched.
    Result,
}

/// Measures `parts`.
///
/// # Errors
/// When something does not start, or what is waited for does not happen in minutes.
pub async fn measure(size: &Size, parts: &[Part]) -> Result<Figures> {
    let mut figures = Figures::default();
    let site = Site::start().await?;
    if parts.contains(&Part::Status) || parts.contains(&Part::Submit) {
        let filled = fill::fill(&site, size, &mut figures).await?;
        if parts.contains(&Part::Status) {
            reads::measure(&site, &filled, size, &mut figures).await?;
        }
        if parts.contains(&Part::Submit) {
            submit::measure(&site, size, &mut figures).await?;
        }
    }
    if parts.contains(&Part::Events) {
        events::measure(&site, size, &mut figures).await?;
    }
    if parts.contains(&Part::Result) {
        results::measure(&site, size, &mut figures).await?;
    }
    Ok(figures)
}
