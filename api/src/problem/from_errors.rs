//! Where typed errors become problems. What an error says about the inside is logged here and goes no further.

use std::error::Error;

use super::{Code, FieldError, Problem};
use crate::auth::Unauthenticated;
use crate::auth::jwt::TokenError;
use crate::auth::scopes::ScopeMissing;
use crate::cluster::{ClusterError, Violation};
use crate::files::{Fault, FileError, FileKind};
use crate::jobs::JobError;
use crate::jobs::build::request_path;
use crate::jobs::create::CreateError;
use crate::jobs::inputs::InputError;
use crate::jobs::orders::OrderError;
use crate::jobs::result::ResultError;
use crate::jobs::view::{FailureCode, Status};
use crate::pools::PoolError;
use crate::request::{RequestError, pointer};
use crate::webhooks::{RedeliverError, WebhookRefused};

impl From<Unauthenticated> for Problem {
    fn from(error: Unauthenticated) -> Self {
        match error {
            Unauthenticated::Token(TokenError::Unavailable) => {
                Self::new(Code::IssuerUnavailable, error.to_string()).retry_after(5)
            }
            _ => Self::new(Code::Unauthenticated, error.to_string()),
        }
    }
}

impl From<ScopeMissing> for Problem {
    fn from(error: ScopeMissing) -> Self {
        Self::new(Code::ScopeMissing, error.to_string())
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::MediaType(_) => Self::new(Code::UnsupportedMediaType, detail),
            RequestError::TooLarge => Self::new(Code::BodyTooLarge, detail),
            RequestError::Malformed(_) => Self::new(Code::MalformedBody, detail),
            RequestError::Field(field) => Self::fields(Code::InvalidRequest, vec![field]),
            RequestError::TooSlow(_) => Self::new(Code::BodyTimeout, detail),
            RequestError::File(error) => error.into(),
            RequestError::Parameter(_) => Self::new(Code::InvalidParameter, detail),
        }
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        let code = match (&error.fault, error.kind) {
            (Fault::TooLarge { .. }, _) => Code::BodyTooLarge,
            (_, FileKind::Image) => Code::InvalidImage,
            (_, FileKind::Mesh) => Code::InvalidMesh,
        };
        let detail = error.to_string();
        Self::field(code, error.pointer, detail)
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Self {
        let detail = error.to_string();
        match error {
            PoolError::None(_) => Self::new(Code::NoPool, detail).retry_after(60),
            PoolError::CircuitOpen(_) => Self::new(Code::PoolFailing, detail).retry_after(60),
            PoolError::Unknown(_) | PoolError::WrongInput { .. } => {
                Self::field(Code::UnknownPool, "/pool", detail)
            }
            PoolError::UnknownModel { .. } => Self::field(Code::UnknownModel, "/model", detail),
        }
    }
}

impl From<InputError> for Problem {
    fn from(error: InputError) -> Self {
        let detail = error.to_string();
        match error {
            InputError::File(error) => error.into(),
            InputError::Store(error) => storage_unavailable(&error),
            InputError::Fetch { pointer, kind, .. } | InputError::Slow { pointer, kind } => {
                let code = match kind {
                    FileKind::Image => Code::ImageUnreachable,
                    FileKind::Mesh => Code::MeshUnreachable,
                };
                Self::field(code, pointer, detail)
            }
        }
    }
}

impl From<ClusterError> for Problem {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::NotFound => JobError::NotFound.into(),
            ClusterError::Invalid(violations) => {
                Self::fields(Code::InvalidRequest, violations.into_iter().map(field).collect())
            }
            ClusterError::QuotaExceeded => {
                let detail = "A ResourceQuota limits the jobs of your namespace. Delete finished ones, or ask an administrator.";
                Self::new(Code::QuotaExceeded, detail).retry_after(60)
            }
            ClusterError::Unavailable(reason) => {
                tracing::warn!(reason, "the Kubernetes API is unavailable");
                Self::new(Code::KubernetesUnavailable, "Nothing was changed as far as is known. Try again.")
                    .retry_after(5)
            }
            ClusterError::AlreadyExists => internal("an object of a fresh name exists"),
            // The message may hold names of jobs and users; the audit log of the API server has them.
            ClusterError::Refused { code, reason, .. } => {
                internal(&format!("the API server answers {code} {reason}"))
            }
        }
    }
}

impl From<JobError> for Problem {
    fn from(error: JobError) -> Self {
        match error {
            JobError::NotFound => Self::new(Code::JobNotFound, error.to_string()),
            JobError::Cluster(error) => error.into(),
            JobError::Archive(error) => storage_unavailable(&error),
            // Without the error's text, which may quote the record.
            JobError::Record(error) => internal(&format!(
                "the record of a job in the archive cannot be read ({:?})",
                error.classify()
            )),
        }
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Rules(violations) => {
                Self::fields(Code::InvalidRequest, violations.into_iter().map(rule).collect())
            }
            CreateError::Quota(error) => {
                Self::new(Code::QuotaExceeded, error.to_string()).retry_after(error.wait())
            }
            CreateError::Pool(error) => error.into(),
            CreateError::Input(error) => error.into(),
            CreateError::Webhook(error) => error.into(),
            CreateError::Cluster(ClusterError::NotFound) => {
                internal("the namespace of the API key, or the definition of GenerationJob, is missing")
            }
            CreateError::Cluster(error) => error.into(),
            CreateError::Before(error) => error.into(),
            CreateError::KeyReused => Self::new(Code::IdempotencyKeyReused, error.to_string()),
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let detail = error.to_string();
        match error {
            OrderError::Job(error) => error.into(),
            OrderError::Ended(status) => {
                Self { job_status: Some(status), ..Self::new(Code::JobEnded, detail) }
            }
            OrderError::NotFailed(status) => {
                Self { job_status: Some(status), ..Self::new(Code::JobNotFailed, detail) }
            }
            OrderError::OnlyRecord => {
                Self { job_status: Some(Status::Failed), ..Self::new(Code::JobNotFailed, detail) }
            }
        }
    }
}

impl From<WebhookRefused> for Problem {
    fn from(error: WebhookRefused) -> Self {
        let pointer = match error {
            WebhookRefused::Off => "/webhook",
            WebhookRefused::Address(_) => "/webhook/url",
        };
        Self::field(Code::InvalidRequest, pointer, error.to_string())
    }
}

impl From<RedeliverError> for Problem {
    fn from(error: RedeliverError) -> Self {
        let detail = error.to_string();
        match error {
            RedeliverError::NotEnded => Self::new(Code::JobNotFinished, detail),
            RedeliverError::Nothing => Self::new(Code::NoWebhook, detail),
            RedeliverError::Cluster(error) => error.into(),
        }
    }
}

impl From<ResultError> for Problem {
    fn from(error: ResultError) -> Self {
        let detail = error.to_string();
        match error {
            ResultError::NotFinished(status) => {
                Self { job_status: Some(status), ..Self::new(Code::JobNotFinished, detail) }.retry_after(5)
            }
            ResultError::Failed(error) => {
                Self { job_error: Some(error.clone()), ..Self::new(error.code.into(), detail) }
            }
            ResultError::Cancelled => Self::new(Code::JobCancelled, detail),
            ResultError::NoSuchFormat { available, .. } => {
                Self { available_formats: Some(available), ..Self::new(Code::FormatNotFound, detail) }
            }
            ResultError::Range { size } => {
                Self { content_range: Some(size), ..Self::new(Code::RangeNotSatisfiable, detail) }
            }
            ResultError::Foreign => internal(&detail),
            ResultError::Storage(trellis_storage::Error::NotFound { .. }) => {
                Self::new(Code::ResultGone, "The file was deleted from the storage. Run the job again.")
            }
            ResultError::Storage(error) => storage_unavailable(&error),
        }
    }
}

impl From<FailureCode> for Code {
    fn from(code: FailureCode) -> Self {
        match code {
            FailureCode::JobInputRefused => Self::JobInputRefused,
            FailureCode::JobDeadlinePassed => Self::JobDeadlinePassed,
            FailureCode::JobFailed => Self::JobFailed,
        }
    }
}

/// What the API server says of a field.
fn field(violation: Violation) -> FieldError {
    FieldError { pointer: pointer(&request_path(&violation.field)), detail: violation.message }
}

/// What is said here of a field: the messages do not name it.
fn rule(violation: Violation) -> FieldError {
    let path = request_path(&violation.field);
    let detail = format!("{}: {}", path.join("."), violation.message);
    FieldError { pointer: pointer(&path), detail }
}

fn internal(reason: &str) -> Problem {
    tracing::error!(reason, "internal error");
    Problem::new(
        Code::Internal,
        "The fault is not in your request. Its x-request-id leads to the reason in the service's log.",
    )
}

fn storage_unavailable(error: &trellis_storage::Error) -> Problem {
    // Only the kind and the cause: the error's own text holds the object's address, and that a job's id.
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    match error.is_transient() {
        true => tracing::warn!(cause, "the storage is unavailable"),
        false => tracing::error!(
            cause,
            "the storage refuses; check INPUT_URI, OUTPUT_URI, TRELLIS_FILE_ROOTS and the rights of the service's account"
        ),
    }
    Problem::new(Code::StorageUnavailable, "The object storage does not answer as it should. Try again.")
        .retry_after(5)
}
