//! Bodies: bytes in, a typed request or a precise refusal out.

use std::time::Duration;

use axum::RequestExt as _;
use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use tokio::time::timeout;

use super::object::Object;
use super::{Body, Generate, RequestError};
use crate::problem::FieldError;

/// The fields of a form whose text is what they say. The others are JSON.
const TEXTS: [&str; 10] = [
    "prompt",
    "image_url",
    "image_base64",
    "mesh_url",
    "mesh_base64",
    "multi_image_mode",
    "quality",
    "model",
    "pool",
    "when_failing",
];
/// The same of which there may be several.
const LISTS: [&str; 2] = ["image_urls", "images_base64"];

/// What a body may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The bytes of all its files together.
    pub file_bytes: usize,
    /// How long it may take to arrive.
    pub time: Duration,
}

impl Limits {
    /// Files of `file_bytes`, which arrive at 0.7 MB/s and more where they have 20 MiB; a body that trickles in holds a place that others wait for.
    #[must_use]
    pub(crate) fn of(file_bytes: usize) -> Self {
        Self { file_bytes, time: Duration::from_secs(30) }
    }
}

/// Reads the body of `request`.
pub(crate) async fn read<B: Body>(request: Request, limits: Limits) -> Result<Generate, RequestError> {
    let body = async {
        match (media_type(&request).as_deref(), B::FILE_FIELD) {
            (Some("application/json"), _) => Ok((Vec::new(), json(request).await?)),
            (Some("multipart/form-data"), Some(field)) => form(request, field).await,
            (_, Some(_)) => Err(RequestError::MediaType("application/json or multipart/form-data")),
            (_, None) => Err(RequestError::MediaType("application/json")),
        }
    };
    let slow = |_| RequestError::TooSlow(limits.time.as_secs());
    let (files, body): (Vec<Bytes>, B) = timeout(limits.time, body).await.map_err(slow)??;
    body.generate(files, limits.file_bytes)
}

/// The essence of the body's media type in lower case, e.g. `application/json`.
fn media_type(request: &Request) -> Option<String> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

/// Reads a body of JSON.
async fn json<T: DeserializeOwned>(request: Request) -> Result<T, RequestError> {
    let bytes = request.with_limited_body();
    let bytes = Bytes::from_request(bytes, &()).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(failure) if failure.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            RequestError::TooLarge
        }
        other => RequestError::Malformed(other.body_text()),
    })?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(refusal)?;
    json.end().map_err(|error| RequestError::Malformed(error.to_string()))?;
    Ok(value)
}

/// Reads a form: its files in the field `file_field`, and the request that its other fields make.
async fn form<T: DeserializeOwned>(
    request: Request,
    file_field: &str,
) -> Result<(Vec<Bytes>, T), RequestError> {
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|rejection| RequestError::Malformed(rejection.body_text()))?;
    let (mut files, mut fields) = (Vec::new(), Map::new());
    while let Some(field) = form.next_field().await? {
        if is_file(&field, file_field) {
            files.push(field.bytes().await?);
        } else {
            insert(&mut fields, field).await?;
        }
    }
    let request = serde_path_to_error::deserialize(Value::Object(fields)).map_err(refusal)?;
    Ok((files, request))
}

/// Whether a field is one of the files. `mesh` is also the name of an option; a file has a name of its own.
fn is_file(field: &Field<'_>, file_field: &str) -> bool {
    field.name() == Some(file_field) && (file_field != "mesh" || field.file_name().is_some())
}

/// Adds a field of text as the JSON that it stands for.
async fn insert(fields: &mut Map<String, Value>, field: Field<'_>) -> Result<(), RequestError> {
    let name = field.name().unwrap_or_default().to_owned();
    let text = field.text().await?;
    let list = match name.as_str() {
        "output_formats" => text.split(',').map(|format| Value::from(format.trim())).collect(),
        name if LISTS.contains(&name) => vec![Value::String(text)],
        name => {
            let value = if TEXTS.contains(&name) { Value::String(text) } else { value(text) };
            return match fields.insert(name.to_owned(), value) {
                None => Ok(()),
                Some(_) => Err(RequestError::field(&[name], format!("the form holds `{name}` twice"))),
            };
        }
    };
    if let Value::Array(all) = fields.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
        all.extend(list);
    }
    Ok(())
}

/// What is no JSON stays text, and the type of the field says what it should have been.
fn value(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

impl From<MultipartError> for RequestError {
    fn from(error: MultipartError) -> Self {
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            _ => Self::Malformed(error.body_text()),
        }
    }
}

fn refusal(error: serde_path_to_error::Error<serde_json::Error>) -> RequestError {
    let cause = error.inner();
    if !cause.is_data() {
        return RequestError::Malformed(cause.to_string());
    }
    let segments: Vec<String> = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        })
        .collect();
    let text = cause.to_string();
    let position = format!(" at line {} column {}", cause.line(), cause.column());
    let detail = text.strip_suffix(&position).unwrap_or(&text);
    RequestError::Field(FieldError { pointer: pointer(&segments), detail: detail.to_owned() })
}

/// A JSON pointer to `segments` (RFC 6901).
pub(crate) fn pointer<S: AsRef<str>>(segments: &[S]) -> String {
    segments.iter().fold(String::new(), |path, segment| {
        path + "/" + &segment.as_ref().replace('~', "~0").replace('/', "~1")
    })
}
