//! Why an attempt failed, as the job's owner is told.

use std::error::Error as StdError;

use trellis_crds::FailureReason;

/// Why an attempt failed. The message is for the job's owner: it has nothing in it of the inside of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which kind of failure, and so whether another attempt may help.
    pub reason: FailureReason,
    /// What happened and what to do, in one or two sentences.
    pub message: String,
}

impl Failure {
    /// The job asks for what cannot be made: another attempt would end the same way.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { reason: FailureReason::InvalidInput, message: message.into() }
    }

    /// It may work later.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { reason: FailureReason::Transient, message: message.into() }
    }

    /// A fault of the worker, which only the log explains.
    pub fn internal(error: &(dyn StdError + 'static)) -> Self {
        tracing::error!(error = chain(error), "the attempt failed by a fault of the worker");
        Self { reason: FailureReason::Internal, message: INTERNAL.into() }
    }

    /// The API server does not take the result.
    pub(crate) fn unacceptable() -> Self {
        Self { reason: FailureReason::Internal, message: UNACCEPTABLE.into() }
    }
}

const UNACCEPTABLE: &str = "the API server does not take what the worker reports of this job, the worker's log says why; \
    the CRDs and the worker's image may be of different versions";
const INTERNAL: &str = "the worker failed on this job; its log says why";

/// `error` and its sources on one line, for logs. What an error says of its source itself is not said twice.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    for source in std::iter::successors(error.source(), |&error| error.source()).map(ToString::to_string) {
        if !text.contains(&source) {
            text = format!("{text}: {source}");
        }
    }
    text
}
