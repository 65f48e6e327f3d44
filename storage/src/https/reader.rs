//! The reader of `https://` addresses that strangers name.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, StatusCode, header};
use tokio::time::timeout;
use url::Url;

use super::guard::{Admitted, Guard, convert, shown};
use crate::Error;

const TOTAL_TIME: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 3;

/// Reads `https://` addresses of the public internet.
#[derive(Clone, Debug)]
pub struct HttpsReader {
    client: Client,
    guard: Guard,
}

impl HttpsReader {
    /// A reader that takes no proxy from the environment and keeps no cookies.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let guard = Guard::default();
        let client = guard.client(Admitted::Usual).build()?;
        Ok(Self { client, guard })
    }

    /// Reads at most `limit` bytes from `address`, within 30 seconds in all.
    ///
    /// What the server says of the content's type and length is not relied on.
    ///
    /// # Errors
    /// See [`Error`]; `Refused` when the address, one that it resolves to, or one that it redirects to is not public.
    pub async fn get(&self, address: &str, limit: u64) -> Result<Bytes, Error> {
        let url = self.guard.parse(address)?;
        let name = shown(&url);
        match timeout(TOTAL_TIME, self.follow(url, limit)).await {
            Ok(result) => result,
            Err(elapsed) => Err(Error::unavailable(name, elapsed)),
        }
    }

    async fn follow(&self, first: Url, limit: u64) -> Result<Bytes, Error> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            let response = self.client.get(url.clone()).send().await.map_err(|error| convert(&url, error))?;
            match answer(&response) {
                Answer::Content => return read(&url, response, limit).await,
                Answer::Redirect(location) => url = self.guard.redirected(&url, location)?,
                Answer::Failure => return Err(failure(&url, response.status())),
            }
        }
        Err(Error::refused(shown(&first), format!("it redirects more than {REDIRECTS} times")))
    }
}

enum Answer<'a> {
    Content,
    Redirect(&'a str),
    Failure,
}

fn answer(response: &Response) -> Answer<'_> {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    match (response.status(), location) {
        (StatusCode::OK, _) => Answer::Content,
        (status, Some(location)) if status.is_redirection() => Answer::Redirect(location),
        _ => Answer::Failure,
    }
}

fn failure(url: &Url, status: StatusCode) -> Error {
    let uri = shown(url);
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound { uri },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied { uri, source: None },
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Error::unavailable(uri, format!("the server answered {status}"))
        }
        status if status.is_server_error() => {
            Error::unavailable(uri, format!("the server answered {status}"))
        }
        status => Error::refused(uri, format!("its server answered {status} instead of a file")),
    }
}

async fn read(url: &Url, mut response: Response, limit: u64) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge { uri: shown(url), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut content = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| convert(url, error))? {
        if (content.len() + piece.len()) as u64 > limit {
            return Err(too_large());
        }
        content.extend_from_slice(&piece);
    }
    Ok(content.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `localhost` resolves everywhere; the client is asked past the check of the name.
    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_never_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url =
            Url::parse(&format!("https://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
        let error = HttpsReader::new().unwrap().follow(url, 1).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_a_server_answers_says_whether_to_try_again() {
        let url = Url::parse("https://user:secret@example.com/a.png?X-Goog-Signature=f00#x").unwrap();
        assert_eq!(
            failure(&url, StatusCode::NOT_FOUND).to_string(),
            "https://example.com/a.png does not exist"
        );
        assert!(failure(&url, StatusCode::BAD_GATEWAY).is_transient());
        assert!(!failure(&url, StatusCode::FORBIDDEN).is_transient());
    }
}
