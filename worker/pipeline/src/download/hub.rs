//! What the hub says of a file, and its bytes.

use futures::StreamExt;
use hf_hub::HFClient;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, ETAG, HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};

use super::plan::Wanted;
use crate::Error;

/// The hub's own address redirects to another host only for a file's bytes; before that it may correct a repository's spelling.
const MAX_REDIRECTS: usize = 5;

/// A hub.
pub(super) struct Hub {
    client: HFClient,
    /// For questions, whose answer stands in the response that redirects to the bytes.
    questions: reqwest::Client,
    token: Option<String>,
}

/// What went wrong, in the words of whom it happened to.
#[derive(Debug)]
pub(super) struct HubError(pub(super) String);

impl HubError {
    pub(super) fn about(self, what: impl ToString) -> Error {
        Error::Download { what: what.to_string(), reason: self.0 }
    }
}

impl From<hf_hub::HFError> for HubError {
    fn from(error: hf_hub::HFError) -> Self {
        Self(error.to_string())
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
        let builder = HFClient::builder().cache_enabled(false);
        let client = match endpoint {
            Some(endpoint) => builder.endpoint(endpoint),
            None => builder,
        };
        let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty());
        let questions = reqwest::Client::builder().redirect(Policy::none()).build()?;
        Ok(Self { client: client.build()?, questions, token })
    }

    /// Asks what a file's content is.
    pub(super) async fn content(&self, wanted: &Wanted) -> Result<Content, HubError> {
        let address =
            format!("{}/{}/resolve/main/{}", self.client.endpoint(), wanted.repository, wanted.file);
        let mut url = Url::parse(&address).map_err(|error| HubError(format!("{address}: {error}")))?;
        for _ in 0..MAX_REDIRECTS {
            let answer = self.ask(url.clone()).await?;
            match relative_location(&answer) {
                Some(location) => {
                    url = url.join(&location).map_err(|error| HubError(format!("{location}: {error}")))?;
                }
                None => return content(answer.status(), answer.headers()),
            }
        }
        Err(HubError("the hub redirects without end".to_owned()))
    }

    async fn ask(&self, url: Url) -> Result<Response, HubError> {
        let request = self.questions.head(url);
        let request = match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        Ok(request.send().await?)
    }

    /// The bytes from `start` to `end`, as they arrive; `take` is given each piece.
    pub(super) async fn read(
        &self,
        wanted: &Wanted,
        start: u64,
        end: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Result<(), Error>, HubError> {
        let repository = self.client.model(&wanted.repository.owner, &wanted.repository.name);
        let request = repository.download_file_stream().filename(&wanted.file).range(start..end);
        let (_, mut pieces) = request.send().await?;
        while let Some(piece) = pieces.next().await {
            if let Err(error) = take(&piece?) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
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
