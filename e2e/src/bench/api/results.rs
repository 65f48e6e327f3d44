//! Files that are fetched.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::site::{Site, USER, prompt, submit};
use super::{Figures, Size};
use crate::load::{Lean, Request, closed};
use crate::processes::{Rest, Service, ServiceSettings};

/// How many clients fetch at a time.
const CLIENTS: usize = 8;
/// How long one job may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Has an asset made, and fetches it again and again.
pub(super) async fn measure(site: &Site, size: &Size, figures: &mut Figures) -> Result<()> {
    let settings = ServiceSettings { bytes: size.result_bytes, ..ServiceSettings::default() };
    let service = Service::start(&site.server, "result", &settings).await?;
    let rest = &service.rest;
    let id = submit(rest, &prompt(0)).await?;
    completed(rest, &id).await?;
    let request = Request::get(&format!("/api/v1/jobs/{id}/result"), rest.key(USER));
    let clients = (0..CLIENTS).map(|_| {
        let request = request.clone();
        Lean::new(rest.address(), move |_| request.clone())
    });
    let tally = closed(clients.collect(), size.length()).await;
    ensure!(tally.errors() == 0.0, "the result was not given: {}", tally.complaints());
    figures.result_per_s = Some(tally.per_second());
    figures.result_mib_per_s = Some(tally.per_second() * size.result_bytes as f64 / f64::from(1 << 20));
    Ok(())
}

async fn completed(rest: &Rest, id: &str) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let url = format!("{}/api/v1/jobs/{id}/status", rest.url());
    loop {
        let answer = reqwest::Client::new().get(&url).bearer_auth(rest.key(USER)).send().await?;
        let status: Value = answer.json().await?;
        match status["status"].as_str().context("no status")? {
            "completed" => return Ok(()),
            "pending" | "processing" if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            _ => anyhow::bail!("the job did not complete: {status}"),
        }
    }
}
