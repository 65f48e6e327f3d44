//! Why an attempt failed, as the job's owner is told.

use std::error::Error as StdError;

use trellis_crds::FailureReason;
use trellis_storage::Error as StorageError;

/// Why an attempt failed. The message is for the job's owner: it has nothing in it of the inside of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: FailureReason,
    pub(crate) message: String,
}

/// Who named an address, and so who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The job's specification.
    Job,
    /// The installation's settings.
    Installation,
}

impl Failure {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { reason: FailureReason::InvalidInput, message: message.into() }
    }

    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self { reason: FailureReason::Transient, message: message.into() }
    }

    /// A fault that only the log explains.
    pub(crate) fn internal(error: &(dyn StdError + 'static)) -> Self {
        tracing::error!(error = chain(error), "the attempt failed by a fault of the worker");
        Self { reason: FailureReason::Internal, message: INTERNAL.into() }
    }

    /// What a failed read or write means for the job.
    pub(crate) fn of_storage(error: &StorageError, named_by: NamedBy) -> Self {
        tracing::warn!(error = chain(error), "storage failed");
        let reason = match (error, named_by) {
            (StorageError::Corrupt { .. } | StorageError::Unavailable { .. }, _) => FailureReason::Transient,
            (StorageError::Local { .. }, _) => return Self::internal(error),
            (_, NamedBy::Job) => FailureReason::InvalidInput,
            (_, NamedBy::Installation) => FailureReason::Internal,
        };
        Self { reason, message: error.to_string() }
    }

    /// What an error of the model means for the job; `None` when the run was asked to stop.
    pub(crate) fn of_model(error: &trellis::Error) -> Option<Self> {
        use trellis::Error;
        match error {
            Error::Cancelled => None,
            Error::InvalidInput(_) | Error::Empty(_) => Some(Self::invalid(error.to_string())),
            Error::OutOfMemory(_) => {
                tracing::warn!(error = chain(error), "out of memory");
                Some(Self { reason: FailureReason::OutOfMemory, message: OUT_OF_MEMORY.into() })
            }
            _ => Some(Self::internal(error)),
        }
    }
}

const INTERNAL: &str = "the worker failed on this job; its log says why";
const OUT_OF_MEMORY: &str =
    "the memory of the worker's device did not suffice; give the job to a pool with larger devices";

/// `error` and its sources on one line, for logs. What an error says of its source itself is not said twice.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    for source in std::iter::successors(error.source(), |&error| error.source()).map(ToString::to_string) {
        if !text.contains(&source) {
            text = format!("{text}: {source}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    fn uri() -> String {
        "gs://bucket/photo.png".into()
    }

    fn io_error() -> io::Error {
        io::Error::other("connect 10.0.0.7:443")
    }

    #[test]
    fn storage_errors_are_the_fault_of_whoever_named_the_address() {
        use FailureReason::{Internal, InvalidInput, Transient};
        let table = [
            (StorageError::NotFound { uri: uri() }, InvalidInput, Internal),
            (StorageError::Denied { uri: uri(), source: None }, InvalidInput, Internal),
            (StorageError::Refused { uri: uri(), why: "no".into() }, InvalidInput, Internal),
            (StorageError::TooLarge { uri: uri(), limit: 1 }, InvalidInput, Internal),
            (StorageError::Corrupt { uri: uri(), source: Box::new(io_error()) }, Transient, Transient),
            (StorageError::Unavailable { uri: uri(), source: Box::new(io_error()) }, Transient, Transient),
            (StorageError::Local { path: PathBuf::from("/x"), source: io_error() }, Internal, Internal),
        ];
        for (error, by_job, by_installation) in table {
            assert_eq!(Failure::of_storage(&error, NamedBy::Job).reason, by_job, "{error:?}");
            assert_eq!(
                Failure::of_storage(&error, NamedBy::Installation).reason,
                by_installation,
                "{error:?}"
            );
        }
    }

    #[test]
    fn model_errors_are_classified_by_what_helps() {
        use FailureReason::{Internal, InvalidInput, OutOfMemory};
        let secret = || PathBuf::from("/var/cache/trellis/model");
        let table = [
            (trellis::Error::InvalidInput("the image has no pixels".into()), Some(InvalidInput)),
            (trellis::Error::Empty("no voxel"), Some(InvalidInput)),
            (trellis::Error::OutOfMemory("CUDA out of memory".into()), Some(OutOfMemory)),
            (trellis::Error::model(secret(), "lacks a tensor"), Some(Internal)),
            (trellis::Error::io(secret())(io_error()), Some(Internal)),
            (trellis::Error::Device("no GPU".into()), Some(Internal)),
            (trellis::Error::Torch("shapes differ".into()), Some(Internal)),
            (trellis::Error::Cancelled, None),
        ];
        for (error, reason) in table {
            assert_eq!(Failure::of_model(&error).map(|failure| failure.reason), reason, "{error:?}");
        }
    }

    #[test]
    fn messages_have_nothing_internal_in_them() {
        let failures = [
            Failure::of_storage(
                &StorageError::Unavailable { uri: uri(), source: Box::new(io_error()) },
                NamedBy::Job,
            ),
            Failure::of_storage(
                &StorageError::Local { path: "/var/cache".into(), source: io_error() },
                NamedBy::Job,
            ),
            Failure::internal(&trellis::Error::io("/var/cache/model")(io_error())),
        ];
        for failure in failures {
            assert!(
                !failure.message.contains("10.0.0.7") && !failure.message.contains("/var"),
                "{failure:?}"
            );
        }
    }
}
