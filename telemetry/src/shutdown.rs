//! The signals by which Kubernetes, or a person at a terminal, ends a process.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// A future that ends at SIGTERM or SIGINT. The handlers are in place when this returns, so a signal that
/// comes before the first poll is not lost.
///
/// # Errors
/// When the runtime cannot install the handlers. Panics outside a tokio runtime.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM received: shutting down"),
            _ = interrupt.recv() => tracing::info!("SIGINT received: shutting down"),
        }
    })
}
