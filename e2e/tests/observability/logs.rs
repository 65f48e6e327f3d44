//! What the programs of this process log.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// All that our own programs can say, and what others say that matters.
const LEVEL: &str =
    "info,trellis_api=trace,trellis_operator=trace,trellis_storage=trace,trellis_worker_core=trace";

/// The lines that were written so far.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logs {
    /// Those of the whole process, from the first call on.
    pub(crate) fn of_process() -> Result<&'static Self> {
        static LOGS: OnceLock<Logs> = OnceLock::new();
        if LOGS.get().is_none() {
            let logs = Logs::default();
            let writer = logs.clone();
            let subscriber = trellis_telemetry::subscriber("tester", LEVEL, move || writer.clone())?;
            tracing::subscriber::set_global_default(subscriber)?;
            let _ = LOGS.set(logs);
        }
        LOGS.get().context("the logs are being set up")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The lines with this message.
    pub(crate) fn lines(&self, message: &str) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }
}
