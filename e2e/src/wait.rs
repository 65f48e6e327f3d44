//! Waiting for a condition with a deadline: the only way to wait here.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const INTERVAL: Duration = Duration::from_millis(50);

/// Asks again and again until `ready` returns a value, for at most `limit`.
///
/// # Errors
/// Returns the first error of `ready`, or that `what` did not come in time.
pub(crate) fn poll<T>(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what} in vain", limit.as_secs());
        }
        std::thread::sleep(INTERVAL);
    }
}
