//! Files that are read again when they change.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How soon a changed file counts. The kubelet itself takes up to a minute to bring a changed Secret or ConfigMap.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reads `what` by `read`, and keeps reading it. A reading that fails changes nothing, and is told once: what was read before stays.
///
/// What was read is compared, not the times of files: the kubelet swaps a symlink, and the new file may be older than the last look.
/// The future ends never; drop it to stop.
///
/// # Errors
/// When the first reading fails.
pub(crate) fn watch<T, E>(
    what: &'static str,
    read: impl Fn() -> Result<T, E> + Send + 'static,
) -> Result<(watch::Receiver<Arc<T>>, impl Future<Output = ()> + Send), E>
where
    T: PartialEq + Send + Sync + 'static,
    E: Display,
{
    let (sender, receiver) = watch::channel(Arc::new(read()?));
    let mut file = File { what, read, sender, complaint: String::new() };
    let reload = async move {
        loop {
            tokio::time::sleep(INTERVAL).await;
            file.reload();
        }
    };
    Ok((receiver, reload))
}

struct File<T, R> {
    what: &'static str,
    read: R,
    sender: watch::Sender<Arc<T>>,
    /// Why the last reading failed, where it did.
    complaint: String,
}

impl<T: PartialEq, R> File<T, R> {
    fn reload<E: Display>(&mut self)
    where
        R: Fn() -> Result<T, E>,
    {
        match (self.read)() {
            Ok(new) => {
                self.complaint.clear();
                if **self.sender.borrow() != new {
                    self.sender.send_replace(Arc::new(new));
                    tracing::info!("{} changed", self.what);
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.complaint != text {
                    tracing::error!(error = text, "keeping the {} as they were", self.what);
                    self.complaint = text;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_counts_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let read = || std::fs::read_to_string(&path).unwrap().parse::<u8>();
        let (sender, mut receiver) = watch::channel(Arc::new(1));
        let mut file = File { what: "numbers", read, sender, complaint: String::new() };

        write("1");
        file.reload();
        assert!(!receiver.has_changed().unwrap(), "the same again is no change");
        write("2");
        file.reload();
        assert_eq!(**receiver.borrow_and_update(), 2);
        write("two");
        file.reload();
        assert!(!receiver.has_changed().unwrap() && **receiver.borrow() == 2);
        assert!(file.complaint.contains("digit"), "{}", file.complaint);
        write("3");
        file.reload();
        assert!(**receiver.borrow() == 3 && file.complaint.is_empty());
    }
}
