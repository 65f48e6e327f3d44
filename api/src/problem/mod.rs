//! Every refusal of this API, as an RFC 9457 problem.

mod codes;
mod from_errors;

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::jobs::view::{JobError, Status};

pub(crate) use codes::Code;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// A refusal. RFC 9457, with `code`, `errors` and what else helps a program to go on.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "urn:trellis3d:problem:invalid_request",
    "title": "A field of the request is wrong",
    "status": 422,
    "code": "invalid_request",
    "detail": "unknown field `qualty`",
    "errors": [{"pointer": "/qualty", "detail": "unknown field `qualty`"}],
}))]
pub(crate) struct Problem {
    /// `urn:trellis3d:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// What the code means; the same for every problem of this code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    code: Code,
    /// What happened this time, and what to do.
    detail: String,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// With `job_not_finished`, `job_ended` and `job_not_failed`: the job's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_status: Option<Status>,
    /// With `job_failed`, `job_input_refused` and `job_deadline_passed`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_error: Option<JobError>,
    /// With `format_not_found`: the formats there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    available_formats: Option<Vec<String>>,
    #[serde(skip)]
    retry_after: Option<u32>,
    /// With `range_not_satisfiable`: how large the file is.
    #[serde(skip)]
    content_range: Option<u64>,
}

/// A field of the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where, as a JSON pointer (RFC 6901) into the request.
    #[schema(example = "/sampling/sparse_structure/steps")]
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
}

impl Problem {
    /// A problem of this code; `detail` says what happened this time, and what to do.
    #[must_use]
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:trellis3d:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            job_status: None,
            job_error: None,
            available_formats: None,
            retry_after: None,
            content_range: None,
        }
    }

    /// A problem about fields of the request.
    #[must_use]
    pub(crate) fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|error| error.detail.as_str()).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(code, detail) }
    }

    /// A problem about one field of the request.
    #[must_use]
    pub(crate) fn field(code: Code, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(code, vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// Says when to try again.
    #[must_use]
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, retry_after, content_range) = (self.code, self.retry_after, self.content_range);
        let mut response = (code.status(), Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"trellis\""));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(range) = content_range.and_then(|size| format!("bytes */{size}").try_into().ok()) {
            headers.insert(CONTENT_RANGE, range);
        }
        response
    }
}
