//! What is logged, and what must not be.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// All that our own programs can say, and what others say that matters.
pub const LOG_LEVEL: &str =
    "info,trellis_api=trace,trellis_operator=trace,trellis_storage=trace,trellis_worker_core=trace";

/// The log of everything that runs in this process. It is written down from the first call on.
pub fn own_log() -> &'static OwnLog {
    static LOG: OnceLock<OwnLog> = OnceLock::new();
    LOG.get_or_init(OwnLog::start)
}

/// Checks that the log of `program` has none of `secrets`.
///
/// # Panics
/// When it has one.
pub fn tells_none<'a>(program: &str, log: &str, secrets: impl IntoIterator<Item = &'a str>) {
    for secret in secrets {
        let told: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(told.is_empty(), "{program} tells {secret}: {told:#?}");
    }
}

/// What a process logs itself.
#[derive(Clone, Debug, Default)]
pub struct OwnLog(Arc<Mutex<Vec<u8>>>);

impl OwnLog {
    fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = trellis_telemetry::subscriber("tests", LOG_LEVEL, move || writer.clone());
        let subscriber = subscriber.expect("the level is a level");
        tracing::subscriber::set_global_default(subscriber).expect("nothing else takes what is logged");
        log
    }

    /// All of it so far.
    pub fn read(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for OwnLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
