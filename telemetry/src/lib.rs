//! What every program of this project tells the outside about itself: JSON logs, metrics, health.

mod health;
mod logs;
mod metrics;
mod server;
mod shutdown;

pub use health::Health;
pub use logs::{LogsError, init_logs};
pub use metrics::registry;
pub use server::{routes, serve};
pub use shutdown::shutdown_signal;
