//! What every program of this project tells the outside about itself: JSON logs, metrics, traces, health.

mod health;
mod logs;
mod metrics;
mod server;
mod shutdown;
mod traces;

pub use health::Health;
pub use logs::{Logging, LogsError, init_logs, subscriber};
pub use metrics::registry;
pub use server::{probes, serve};
pub use shutdown::shutdown_signal;
pub use traces::{TraceParent, TraceSpan, Traces, TracesError};
