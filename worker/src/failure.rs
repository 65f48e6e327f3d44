//! What the errors of storage and of the model mean for a job.

use trellis_crds::FailureReason;
use trellis_storage::Error as StorageError;
use trellis_worker_core::{Failure, chain};

/// Who named an address, and so who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The job's specification.
    Job,
    /// The installation's settings.
    Installation,
}

/// What a failed read or write means for the job.
pub(crate) fn of_storage(error: &StorageError, named_by: NamedBy) -> Failure {
    tracing::warn!(error = chain(error), "storage failed");
    let reason = match (error, named_by) {
        (StorageError::Corrupt { .. } | StorageError::Unavailable { .. }, _) => FailureReason::Transient,
        (StorageError::Local { .. }, _) => return Failure::internal(error),
        (_, NamedBy::Job) => FailureReason::InvalidInput,
        (_, NamedBy::Installation) => FailureReason::Internal,
    };
    Failure { reason, message: error.to_string() }
}

/// What an error of the model means for the job; `None` when the run was asked to stop.
pub(crate) fn of_model(error: &trellis::Error) -> Option<Failure> {
    use trellis::Error;
    match error {
        Error::Cancelled => None,
        Error::InvalidInput(_) | Error::Empty(_) => Some(Failure::invalid(error.to_string())),
        Error::OutOfMemory(_) => {
            tracing::warn!(error = chain(error), "out of memory");
            Some(Failure { reason: FailureReason::OutOfMemory, message: OUT_OF_MEMORY.into() })
        }
        _ => Some(Failure::internal(error)),
    }
}

const OUT_OF_MEMORY: &str =
    "the memory of the worker's device did not suffice; give the job to a pool with larger devices";

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
            assert_eq!(of_storage(&error, NamedBy::Job).reason, by_job, "{error:?}");
            assert_eq!(of_storage(&error, NamedBy::Installation).reason, by_installation, "{error:?}");
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
            assert_eq!(of_model(&error).map(|failure| failure.reason), reason, "{error:?}");
        }
    }

    #[test]
    fn messages_have_nothing_internal_in_them() {
        let failures = [
            of_storage(&StorageError::Unavailable { uri: uri(), source: Box::new(io_error()) }, NamedBy::Job),
            of_storage(&StorageError::Local { path: "/var/cache".into(), source: io_error() }, NamedBy::Job),
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
