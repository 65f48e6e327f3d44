//! Programs of this workspace as processes, in front of an API server of their own: for measurements, for load, and for tests that see the
//! service only from outside.

mod operator;
mod process;
mod rest;
mod service;
mod workers;

pub use operator::{Operator, OperatorSettings};
pub use process::Process;
pub use rest::{KeyEntry, REST_USER, Rest, RestSettings};
pub use service::{Service, ServiceSettings, create_pool};
pub use workers::{SimulatedWorkers, simulated_workers};

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

/// How long a program may take to get ready.
const LIMIT: Duration = Duration::from_secs(120);

/// A program of this workspace: beside the one that runs, or, where that is a test, in the folder above.
fn program(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let beside = this.with_file_name(name);
    let above = this.parent().and_then(|folder| folder.parent()).map(|folder| folder.join(name));
    let built = [Some(beside.clone()), above].into_iter().flatten().find(|path| path.is_file());
    ensure!(built.is_some(), "{} is not built: cargo build --release --workspace --bins", beside.display());
    Ok(built.unwrap_or(beside))
}

/// A port of this machine that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Waits until `url` answers with success.
async fn answers(url: &str) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) {
        ensure!(Instant::now() < deadline, "{url} does not answer within {LIMIT:?}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
