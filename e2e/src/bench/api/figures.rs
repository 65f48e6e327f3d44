//! The figures of a run, and what they are compared with.

use std::fmt;

use serde::Serialize;

use crate::bench::row;

/// What was measured; `None` where it was left out.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// How many statuses were given in a second.
    pub status_per_s: Option<f64>,
    /// Within which time half of them were, in ms.
    pub status_p50_ms: Option<f64>,
    /// The same for all but one in a hundred.
    pub status_p99_ms: Option<f64>,
    /// The processors' time that the service spent on each, in µs.
    pub status_cpu_us: Option<f64>,
    /// How many statuses were given in a second when 10,000 were asked for.
    pub status_paced_per_s: Option<f64>,
    /// Within which time all but one in a hundred of these were, in ms.
    pub status_paced_p99_ms: Option<f64>,
    /// How many jobs were taken in a second.
    pub submit_per_s: Option<f64>,
    /// Within which time all but one in a hundred of them were, in ms.
    pub submit_full_p99_ms: Option<f64>,
    /// The processors' time that the service spent on each, in µs.
    pub submit_cpu_us: Option<f64>,
    /// How many jobs were taken in a second when half as many were asked for.
    pub submit_half_per_s: Option<f64>,
    /// Within which time half of these were, in ms.
    pub submit_p50_ms: Option<f64>,
    /// The same for all but one in a hundred.
    pub submit_p99_ms: Option<f64>,
    /// How many jobs with a photo were taken in a second.
    pub submit_image_per_s: Option<f64>,
    /// Within which time all but one in a hundred of these were, in ms.
    pub submit_image_p99_ms: Option<f64>,
    /// How many such jobs a second the API server took from a program that only creates them.
    pub apiserver_create_per_s: Option<f64>,
    /// How many results were fetched in a second.
    pub result_per_s: Option<f64>,
    /// How many MiB that was.
    pub result_mib_per_s: Option<f64>,
    /// How many clients followed a stream of events each, and heard how their job ended.
    pub sse_clients: Option<usize>,
    /// How many events they heard.
    pub sse_events: Option<usize>,
    /// From the end of a job until its client heard of it, half of the jobs, in ms.
    pub sse_lag_p50_ms: Option<f64>,
    /// The same for all but one in a hundred.
    pub sse_lag_p99_ms: Option<f64>,
    /// What the jobs and their streams took of the service's memory, in MiB.
    pub sse_rss_mib: Option<f64>,
    /// The service's memory with all jobs, after statuses were asked for, in MiB.
    pub rss_mib: Option<f64>,
    /// Its memory when it was just ready.
    pub rss_start_mib: Option<f64>,
    /// Its memory after clients polled.
    pub rss_polled_mib: Option<f64>,
    /// The most that it held until then.
    pub rss_peak_mib: Option<f64>,
    /// How often clients polled.
    pub polls: Option<u64>,
    /// How often the service read from the API server meanwhile, watches aside, and the Lease of webhooks' sender, which it reads by the clock.
    pub poll_reads: Option<usize>,
    /// How often it read that Lease.
    pub poll_lease_reads: Option<usize>,
    /// How often it began a watch, or one ended.
    pub poll_watches: Option<usize>,
}

impl fmt::Display for Figures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "| figure | target | here |\n|---|---|---|")?;
        let rate = |per_s: Option<f64>, p99: Option<f64>| {
            per_s.zip(p99).map(|(per_s, p99)| format!("{per_s:.0}/s, p99 {p99:.1} ms"))
        };
        let mut row = |name: &str, target: &str, here: Option<String>| row(to, &[name, target], here);
        row(
            "statuses from the cache",
            "10,000/s",
            rate(self.status_per_s, self.status_p99_ms)
                .zip(self.status_cpu_us)
                .map(|(rate, cpu)| format!("{rate}, {cpu:.0} µs of the service's CPU each")),
        )?;
        row("at 10,000 a second", "p99 10 ms", rate(self.status_paced_per_s, self.status_paced_p99_ms))?;
        let create = self.apiserver_create_per_s;
        row(
            "jobs submitted, prompts",
            "0.8 × what the API server takes",
            self.submit_per_s.zip(create).map(|(submit, create)| {
                let part = submit / create;
                format!("{submit:.0}/s; the API server alone: {create:.0}/s, so {part:.2} ×")
            }),
        )?;
        row("at half of that rate", "p99 100 ms", rate(self.submit_half_per_s, self.submit_p99_ms))?;
        row("jobs submitted, photos of 30 kB", "", rate(self.submit_image_per_s, self.submit_image_p99_ms))?;
        row(
            "results fetched",
            "",
            self.result_per_s
                .zip(self.result_mib_per_s)
                .map(|(per_s, mib)| format!("{per_s:.0}/s, {mib:.0} MiB/s")),
        )?;
        row(
            "clients of event streams, from a job's end until they hear of it, p50 / p99",
            "1,000",
            self.sse_clients
                .zip(self.sse_lag_p50_ms.zip(self.sse_lag_p99_ms))
                .map(|(clients, (p50, p99))| format!("{clients}: {p50:.0} / {p99:.0} ms")),
        )?;
        row(
            "memory with all jobs: at the start, after statuses, after polling, at its peak",
            "64 MiB, flat",
            self.rss_start_mib.zip(self.rss_mib).zip(self.rss_polled_mib.zip(self.rss_peak_mib)).map(
                |((start, now), (polled, peak))| format!("{start:.0}, {now:.0}, {polled:.0}, {peak:.0} MiB"),
            ),
        )?;
        row(
            "reads of the API server while clients poll",
            "0 beside the watches",
            self.polls.zip(self.poll_reads).zip(self.poll_lease_reads).map(|((polls, reads), leases)| {
                format!("{reads} in {polls} polls, and {leases} of a Lease, by the clock")
            }),
        )
    }
}
