//! Bodies: bytes in, a typed request or a precise refusal out.

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

use super::RequestError;
use crate::problem::FieldError;

/// The essence of the body's media type in lower case, e.g. `application/json`.
pub(super) fn media_type(request: &Request) -> Option<String> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

/// Reads a body of JSON.
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, RequestError> {
    let bytes = request.with_limited_body();
    let bytes = Bytes::from_request(bytes, &()).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(failure) if failure.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            RequestError::TooLarge
        }
        other => RequestError::Malformed(other.body_text()),
    })?;
    from_json(&bytes)
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RequestError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(refusal)?;
    json.end().map_err(|error| RequestError::Malformed(error.to_string()))?;
    Ok(value)
}

/// Reads a form: the bytes of its file field `image`, and the request that its other fields make.
pub(super) async fn multipart<T: DeserializeOwned>(
    request: Request,
) -> Result<(Option<Bytes>, T), RequestError> {
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|rejection| RequestError::Malformed(rejection.body_text()))?;
    let (mut image, mut fields) = (None, Map::new());
    while let Some(field) = form.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        let twice = match name.as_str() {
            "image" => image.replace(field.bytes().await?).is_some(),
            _ => !insert(&mut fields, name.clone(), field).await?,
        };
        if twice {
            return Err(RequestError::field(&[&name], format!("the form holds `{name}` twice")));
        }
    }
    let request = serde_path_to_error::deserialize(Value::Object(fields)).map_err(refusal)?;
    Ok((image, request))
}

/// Adds a text field as the JSON that it stands for. False if it is there already and not a list.
async fn insert(
    fields: &mut Map<String, Value>,
    name: String,
    field: Field<'_>,
) -> Result<bool, RequestError> {
    let text = field.text().await?;
    if name == "output_formats" {
        let formats = text.split(',').map(|format| Value::from(format.trim()));
        match fields.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(list) => list.extend(formats),
            _ => return Ok(false),
        }
        return Ok(true);
    }
    let value = match name.as_str() {
        // What is no JSON stays text, and the type of the field says what it should have been.
        "seed" | "sampling" | "mesh" => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        _ => Value::String(text),
    };
    Ok(fields.insert(name, value).is_none())
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
