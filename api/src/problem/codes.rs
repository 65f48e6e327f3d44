//! The table of codes. docs/api.md lists them for people, and a test holds the two together.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! codes {
    ($($variant:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, in a word that clients may rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of their statuses.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code on the wire.
            #[must_use]
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status that goes with the code.
            #[must_use]
            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// What the code means.
            #[must_use]
            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    MalformedBody = "malformed_body", BAD_REQUEST, "The body cannot be parsed";
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "A query parameter or header is wrong";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "No valid API key";
    ScopeMissing = "scope_missing", FORBIDDEN, "The key may not do this";
    NotFound = "not_found", NOT_FOUND, "There is nothing at this path";
    JobNotFound = "job_not_found", NOT_FOUND, "You have no such job";
    WebhooksOff = "webhooks_off", NOT_FOUND, "This installation sends no webhooks";
    FormatNotFound = "format_not_found", NOT_FOUND, "The job has no file of this format";
    ResultGone = "result_gone", NOT_FOUND, "The job's file is no longer in storage";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The path does not take this method";
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, "The body did not arrive in time";
    JobNotFinished = "job_not_finished", CONFLICT, "The job has no result yet";
    JobCancelled = "job_cancelled", CONFLICT, "The job was cancelled and has no result";
    JobEnded = "job_ended", CONFLICT, "The job has ended already";
    JobNotFailed = "job_not_failed", CONFLICT, "The job cannot be tried again";
    NoWebhook = "no_webhook", CONFLICT, "The job has no webhook to tell";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body's media type is not taken here";
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE, "The file has no such bytes";
    InvalidRequest = "invalid_request", UNPROCESSABLE_ENTITY, "A field of the request is wrong";
    InvalidImage = "invalid_image", UNPROCESSABLE_ENTITY, "An image cannot be used";
    ImageUnreachable = "image_unreachable", UNPROCESSABLE_ENTITY, "An image cannot be fetched from its URL";
    InvalidMesh = "invalid_mesh", UNPROCESSABLE_ENTITY, "The mesh cannot be used";
    MeshUnreachable = "mesh_unreachable", UNPROCESSABLE_ENTITY, "The mesh cannot be fetched from its URL";
    UnknownPool = "unknown_pool", UNPROCESSABLE_ENTITY, "The pool does not exist or does not serve this input";
    UnknownModel = "unknown_model", UNPROCESSABLE_ENTITY, "No pool for this input runs the model";
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key was used for another request";
    JobInputRefused = "job_input_refused", UNPROCESSABLE_ENTITY, "The job's input cannot become an asset";
    QuotaExceeded = "quota_exceeded", TOO_MANY_REQUESTS, "There are as many jobs as you, or your namespace, may have";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "There were too many requests";
    Internal = "internal", INTERNAL_SERVER_ERROR, "The service failed";
    JobFailed = "job_failed", BAD_GATEWAY, "The workers failed at the job";
    NoPool = "no_pool", SERVICE_UNAVAILABLE, "No worker pool serves this input";
    PoolFailing = "pool_failing", SERVICE_UNAVAILABLE, "The workers for this input fail";
    KubernetesUnavailable = "kubernetes_unavailable", SERVICE_UNAVAILABLE, "The Kubernetes API cannot be reached";
    IssuerUnavailable = "issuer_unavailable", SERVICE_UNAVAILABLE, "The keys of the token's issuer cannot be fetched";
    StorageUnavailable = "storage_unavailable", SERVICE_UNAVAILABLE, "The object storage cannot be reached";
    Timeout = "timeout", SERVICE_UNAVAILABLE, "The request took too long";
    JobDeadlinePassed = "job_deadline_passed", GATEWAY_TIMEOUT, "A deadline of the job passed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_word_everywhere() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn the_documentation_lists_every_code_with_its_status() {
        let documentation = include_str!("../../../docs/api.md");
        for code in Code::ALL {
            let row = format!("| {} | `{}` |", code.status().as_u16(), code.as_str());
            assert!(documentation.contains(&row), "docs/api.md lacks the row {row}");
        }
    }
}
