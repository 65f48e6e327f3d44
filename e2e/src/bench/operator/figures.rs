//! The figures of a run, and what they are compared with.

use std::fmt;

use serde::Serialize;

use crate::bench::row;

/// What was measured; `None` where it was left out.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// From the request to create a job until its worker began, half of the jobs, in ms.
    pub start_p50_ms: Option<f64>,
    /// The same for all but one in a hundred.
    pub start_p99_ms: Option<f64>,
    /// How many jobs were started in a second meanwhile.
    pub start_rate_per_s: Option<f64>,
    /// Writes to the API server for each of these jobs, creation and deletion included.
    pub writes_per_job: Option<f64>,
    /// How many jobs of a long queue were completed in a second.
    pub drain_per_s: Option<f64>,
    /// Writes to the API server for each job of that queue, from when workers were free.
    pub drain_writes_per_job: Option<f64>,
    /// How many jobs a second the same writes alone allow, with the same watches.
    pub ceiling_per_s: Option<f64>,
    /// The operator's writes while nothing happens to a queue's worth of completed jobs, restart included.
    pub settled_writes: Option<usize>,
    /// How long nothing happened, in s.
    pub settled_seconds: Option<u64>,
    /// The operator's memory with that many jobs and workers, in MiB.
    pub rss_mib: Option<f64>,
    /// The most that it held, since its start with them.
    pub rss_peak_mib: Option<f64>,
    /// From the end of a leader by SIGKILL until a new job began, the longest of all, in s.
    pub failover_s: Option<f64>,
    /// The time of one decision with a queue so long, in µs.
    pub decision_us: Vec<(usize, f64)>,
}

impl fmt::Display for Figures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "| figure | best peer | target | here |\n|---|---|---|---|")?;
        let mut row =
            |name: &str, peer: &str, target: &str, here: Option<String>| row(to, &[name, peer, target], here);
        let one = |value: Option<f64>| value.map(|value| format!("{value:.1}"));
        let start = self.start_p50_ms.zip(self.start_p99_ms).zip(self.start_rate_per_s);
        row(
            "create to worker start, warm, p50 / p99",
            "92 / 376 ms at 45/s (agent-sandbox)",
            "50 / 200 ms at 100/s",
            start.map(|((p50, p99), rate)| format!("{p50:.0} / {p99:.0} ms at {rate:.0}/s")),
        )?;
        row("API writes for a warm job", "22 to 24 (agent-sandbox)", "5", one(self.writes_per_job))?;
        let drain = self.drain_per_s.map(|rate| match self.ceiling_per_s {
            Some(ceiling) => format!("{rate:.0}/s; the same writes alone: {ceiling:.0}/s"),
            None => format!("{rate:.0}/s"),
        });
        row("drain of a queue", "42/s (Kueue)", "200/s, or the API server's own limit", drain)?;
        let settled = self.settled_writes.zip(self.settled_seconds);
        row(
            "writes for settled jobs, a restart included",
            "not promised",
            "0",
            settled.map(|(writes, seconds)| format!("{writes} in {seconds} s")),
        )?;
        let memory = self.rss_mib.zip(self.rss_peak_mib);
        row(
            "operator memory, jobs and pods",
            "110 kB a job (Kueue #3818)",
            "64 MiB",
            memory.map(|(now, peak)| format!("{now:.0} MiB, at its peak {peak:.0}")),
        )?;
        row("fail-over", "15 to 30 s", "10 s", self.failover_s.map(|seconds| format!("{seconds:.1} s")))?;
        for (queued, microseconds) in &self.decision_us {
            let here = Some(format!("{microseconds:.1} µs"));
            row(&format!("one decision, {queued} jobs queued"), "", "grows no faster than log n", here)?;
        }
        Ok(())
    }
}
