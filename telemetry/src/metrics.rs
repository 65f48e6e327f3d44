//! The registry that a process collects its metrics in.

use prometheus::{IntGauge, Opts, Registry};

/// A registry that already holds `trellis_build_info{service,version}` and the process metrics
/// (CPU seconds, memory, open files).
///
/// Metric names begin with `trellis_`; <https://prometheus.io/docs/practices/naming/>.
pub fn registry(service: &str, version: &str) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let build = Opts::new("trellis_build_info", "The program that runs here; always 1.")
        .const_label("service", service)
        .const_label("version", version);
    let build = IntGauge::with_opts(build)?;
    build.set(1);
    registry.register(Box::new(build))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}
