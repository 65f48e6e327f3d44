//! Jobs that are submitted.

use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use trellis_crds::GenerationJob;

use super::site::{IMAGE, Site, TEXT, USER, prompt};
use super::{Figures, Size};
use crate::load::{Lean, Request, Tally, closed, paced};

/// A photo of 30 kB.
const PHOTO: &[u8] = include_bytes!("../../../../worker/pipeline/tests/golden/15_end2end/input.png");

/// Submits prompts as fast as they are taken, then half as many a second; then photos.
pub(super) async fn measure(site: &Site, size: &Size, figures: &mut Figures) -> Result<()> {
    let namespace = site.namespace("submit", 1).await?;
    let rest = site.rest(&namespace).await?;
    let clients = |request: Box<dyn Fn(u64) -> Request + Send + Sync>| -> Vec<_> {
        let request: std::sync::Arc<dyn Fn(u64) -> Request + Send + Sync> = request.into();
        let client = || {
            let request = request.clone();
            Lean::new(rest.address(), move |number| request(number))
        };
        (0..size.submitters).map(|_| client()).collect()
    };
    let key = rest.key(USER).to_owned();
    let photo = json!({"image_base64": STANDARD.encode(PHOTO), "seed": 1});
    let photo = Request::post(IMAGE, &key, &photo);
    let prompts = move |number| Request::post(TEXT, &key, &prompt(number));

    let cpu = rest.process.cpu()?;
    let full = checked(closed(clients(Box::new(prompts.clone())), size.length()).await)?;
    let cpu = rest.process.cpu()? - cpu;
    figures.submit_per_s = Some(full.per_second());
    figures.submit_full_p99_ms = Some(full.milliseconds(0.99));
    figures.submit_cpu_us = Some(cpu.as_secs_f64() * 1e6 / full.count() as f64);

    let apart = Duration::from_secs_f64(2.0 / full.per_second());
    let schedule = (1_u32..).map(move |number| apart * number);
    let length = size.length();
    let schedule = schedule.take_while(move |time| *time < length);
    let [half] = paced(clients(Box::new(prompts)), schedule, |_| 0).await;
    let half = checked(half)?;
    figures.submit_half_per_s = Some(half.per_second());
    figures.submit_p50_ms = Some(half.milliseconds(0.5));
    figures.submit_p99_ms = Some(half.milliseconds(0.99));

    let image = checked(closed(clients(Box::new(move |_| photo.clone())), size.length()).await)?;
    figures.submit_image_per_s = Some(image.per_second());
    figures.submit_image_p99_ms = Some(image.milliseconds(0.99));

    // The parts that follow are not to carry them.
    let jobs = namespace.api::<GenerationJob>();
    jobs.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    Ok(())
}

fn checked(tally: Tally) -> Result<Tally> {
    ensure!(tally.errors() == 0.0, "jobs were not taken: {}", tally.complaints());
    Ok(tally)
}
