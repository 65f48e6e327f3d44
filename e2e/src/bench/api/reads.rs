//! Statuses from the cache: how many a second, in how much memory, and what they cost the API server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::fill::Filled;
use super::site::{Site, USER};
use super::{Figures, Size};
use crate::AuditEvent;
use crate::load::{Client, Lean, Request, Tally, closed, paced};
use crate::processes::{REST_USER, Rest};

/// How many statuses a second are to be answered in time.
const WANTED_PER_S: u32 = 10_000;

/// Asks for statuses: as fast as answers come, then as often as is wanted, then as many clients who poll.
pub(super) async fn measure(site: &Site, filled: &Filled, size: &Size, figures: &mut Figures) -> Result<()> {
    let rest = site.rest(&filled.namespace).await?;
    figures.rss_start_mib = Some(rest.process.memory()?.0);
    let requests: Arc<[Request]> = filled
        .jobs
        .iter()
        .map(|id| Request::get(&format!("/api/v1/jobs/{id}/status"), rest.key(USER)))
        .collect();
    ask(&rest, &requests, size.connections, Duration::from_secs(2)).await?;

    let cpu = rest.process.cpu()?;
    let tally = ask(&rest, &requests, size.connections, size.length()).await?;
    let cpu = rest.process.cpu()? - cpu;
    figures.status_per_s = Some(tally.per_second());
    figures.status_p50_ms = Some(tally.milliseconds(0.5));
    figures.status_p99_ms = Some(tally.milliseconds(0.99));
    figures.status_cpu_us = Some(cpu.as_secs_f64() * 1e6 / tally.count() as f64);
    figures.rss_mib = Some(rest.process.memory()?.0);

    let length = size.length();
    let schedule = (1_u32..).map(|number| Duration::from_secs(1) * number / WANTED_PER_S);
    let schedule = schedule.take_while(move |time| *time < length);
    let [tally] = paced(clients(&rest, &requests, size.connections), schedule, |_| 0).await;
    let tally = answered(tally)?;
    figures.status_paced_per_s = Some(tally.per_second());
    figures.status_paced_p99_ms = Some(tally.milliseconds(0.99));

    let log = site.requests()?;
    let polled = ask(&rest, &requests, size.pollers, Duration::from_secs(size.poll_seconds)).await?;
    let events = log.events()?;
    let ours = || events.iter().filter(|event| event.user.username == REST_USER);
    figures.polls = Some(polled.count());
    let of_lease =
        |event: &AuditEvent| event.object_ref.as_ref().is_some_and(|object| object.resource == "leases");
    let reads = ours().filter(|event| event.verb == "get" || event.verb == "list");
    let (leases, others): (Vec<_>, Vec<_>) = reads.partition(|event| of_lease(event));
    (figures.poll_reads, figures.poll_lease_reads) = (Some(others.len()), Some(leases.len()));
    figures.poll_watches = Some(ours().filter(|event| event.verb == "watch").count());
    let (now, peak) = rest.process.memory()?;
    (figures.rss_polled_mib, figures.rss_peak_mib) = (Some(now), Some(peak));
    Ok(())
}

async fn ask(rest: &Rest, requests: &Arc<[Request]>, connections: usize, length: Duration) -> Result<Tally> {
    answered(closed(clients(rest, requests, connections), length).await)
}

fn clients(rest: &Rest, requests: &Arc<[Request]>, connections: usize) -> Vec<impl Client + use<>> {
    let client = || {
        let requests = Arc::clone(requests);
        // Neighbours are far apart: each job is asked for now and then.
        Lean::new(rest.address(), move |number: u64| {
            requests[(number as usize).wrapping_mul(7919) % requests.len()].clone()
        })
    };
    (0..connections).map(|_| client()).collect()
}

fn answered(tally: Tally) -> Result<Tally> {
    ensure!(tally.errors() == 0.0, "statuses were not answered: {}", tally.complaints());
    Ok(tally)
}
