//! What the hub says of a file, and its bytes.
//!
//! Two requests of HTTP, so not the crate `hf-hub`: release 1.0 of it goes on with no file that it has a part of, checks no sum, and brings fifty crates, two
//! of them with a licence that is not permissive.

use std::path::PathBuf;

use futures::StreamExt;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::plan::Wanted;
use crate::Error;

/// The hub's own address redirects to another host only for a file's bytes; before that it may correct a repository's spelling.
const MAX_REDIRECTS: usize = 5;
const HUGGING_FACE: &str = "https://huggingface.co";

/// A hub.
pub(super) struct Hub {
    endpoint: String,
    token: Option<String>,
    /// For questions, whose answer stands in the response that redirects to the bytes.
    questions: Client,
    /// For bytes, wherever they are. A redirection to another host gets no token.
    bytes: Client,
}

/// What went wrong, in the words of whom it happened to.
#[derive(Debug)]
pub(super) struct HubError(pub(super) String);

impl HubError {
    pub(super) fn about(self, what: impl ToString) -> Error {
        Error::Download { what: what.to_string(), reason: self.0 }
    }
}

impl From<reqwest::Error> for HubError {
    fn from(error: reqwest::Error) -> Self {
        // The last cause is what a person can do something about: no such host, connection refused.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Self(format!("{cause}; is the hub reachable from here (HF_ENDPOINT names another)?"))
    }
}

/// What identifies a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: u64,
    /// Of large files. The hub names small ones, which git holds itself, by another sum.
    pub(super) sha256: Option<String>,
}

impl Hub {
    pub(super) fn new(endpoint: Option<&str>) -> Result<Self, HubError> {
        let endpoint = endpoint.map(str::to_owned).or_else(|| setting("HF_ENDPOINT"));
        let endpoint = endpoint.unwrap_or_else(|| HUGGING_FACE.to_owned());
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token(),
            questions: Client::builder().redirect(Policy::none()).build()?,
            bytes: Client::new(),
        })
    }

    fn address(&self, wanted: &Wanted) -> String {
        format!("{}/{}/resolve/main/{}", self.endpoint, wanted.repository, wanted.file)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, HubError> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        Ok(request.send().await?)
    }

    /// Asks what a file's content is.
    pub(super) async fn content(&self, wanted: &Wanted) -> Result<Content, HubError> {
        let address = self.address(wanted);
        let mut url = Url::parse(&address).map_err(|error| HubError(format!("{address}: {error}")))?;
        for _ in 0..MAX_REDIRECTS {
            let answer = self.send(self.questions.head(url.clone())).await?;
            match relative_location(&answer) {
                Some(location) => {
                    url = url.join(&location).map_err(|error| HubError(format!("{location}: {error}")))?;
                }
                None => return content(answer.status(), answer.headers()),
            }
        }
        Err(HubError("the hub redirects without end".to_owned()))
    }

    /// The bytes from `start` on, as they arrive; `take` is given each piece.
    pub(super) async fn read(
        &self,
        wanted: &Wanted,
        start: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Result<(), Error>, HubError> {
        let request = self.bytes.get(self.address(wanted));
        let request = if start > 0 { request.header(RANGE, format!("bytes={start}-")) } else { request };
        let answer = self.send(request).await?;
        let expected = if start > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if answer.status() != expected {
            return Err(HubError(format!("the hub answers {} where bytes were asked for", answer.status())));
        }
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            if let Err(error) = take(&piece?) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The token in the environment, or that which `hf auth login` has stored.
fn token() -> Option<String> {
    let stored = || {
        let cache = setting("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(setting("HOME")?).join(".cache")));
        let home = setting("HF_HOME").map(PathBuf::from).or_else(|| Some(cache?.join("huggingface")))?;
        let token = std::fs::read_to_string(home.join("token")).ok()?;
        Some(token.trim().to_owned()).filter(|token| !token.is_empty())
    };
    setting("HF_TOKEN").or_else(stored)
}

fn relative_location(answer: &Response) -> Option<String> {
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    (answer.status().is_redirection() && location.starts_with('/')).then(|| location.to_owned())
}

/// Reads the answer: <https://huggingface.co/docs/huggingface_hub/package_reference/file_download>, `HfFileMetadata`.
fn content(status: StatusCode, headers: &HeaderMap) -> Result<Content, HubError> {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(HubError("the hub does not let you read it; is there such a repository, and does HF_TOKEN hold a token for it?".to_owned()));
        }
        StatusCode::NOT_FOUND => return Err(HubError("the hub has no such file".to_owned())),
        status if !status.is_success() && !status.is_redirection() => {
            return Err(HubError(format!("the hub answers {status}; try again later")));
        }
        _ => {}
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bytes = text("x-linked-size").or(text(CONTENT_LENGTH.as_str())).and_then(|size| size.parse().ok());
    let tag = text("x-linked-etag").or(text(ETAG.as_str())).unwrap_or_default();
    let sum = tag.trim_start_matches("W/").trim_matches('"');
    let is_sha256 = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(Content {
        bytes: bytes.ok_or_else(|| HubError("the hub does not say how large it is".to_owned()))?,
        sha256: is_sha256.then(|| sum.to_ascii_lowercase()),
    })
}
