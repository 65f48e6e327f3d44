//! The sender to `https://` addresses that strangers name.

use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Response, StatusCode};
use tokio::time::timeout;

use super::guard::{Admitted, Guard, convert, shown};
use crate::Error;

/// How long a request may take, its answer included.
const TOTAL_TIME: Duration = Duration::from_secs(15);
/// How much of an answer's content is read, which is what keeps its connection for the next request.
const READ: usize = 4 << 10;
/// How long a connection is kept that nothing is sent on.
const IDLE: Duration = Duration::from_secs(30);

/// Posts to `https://` addresses of the public internet, and to the networks that an installation names. It follows no redirect.
#[derive(Clone, Debug)]
pub struct HttpsSender {
    usual: Client,
    named: Client,
    guard: Guard,
}

impl HttpsSender {
    /// A sender that reaches `networks` beside the public internet, and trusts the certificate authorities in `authorities` (PEM) beside the
    /// system's.
    ///
    /// # Errors
    /// When TLS cannot be set up, or `authorities` is no PEM.
    pub fn new(networks: Vec<IpNet>, authorities: &[u8]) -> Result<Self, reqwest::Error> {
        let guard = Guard::with(networks);
        let authorities = Certificate::from_pem_bundle(authorities)?;
        let client = |admitted| {
            guard
                .client(admitted)
                .tls_certs_merge(authorities.clone())
                .pool_max_idle_per_host(1)
                .pool_idle_timeout(IDLE)
                .build()
        };
        Ok(Self { usual: client(Admitted::Usual)?, named: client(Admitted::Named)?, guard })
    }

    /// Says what is wrong with `address`, as far as can be told without asking DNS.
    ///
    /// # Errors
    /// `Refused` when nothing is ever sent to it.
    pub fn check(&self, address: &str) -> Result<(), Error> {
        self.guard.parse(address).map(drop)
    }

    /// Posts `body` to `address`, and returns what its server answered, within 15 seconds in all.
    ///
    /// # Errors
    /// See [`Error`]; `Refused` when the address, or one that it resolves to, is none that may be reached.
    pub async fn post(&self, address: &str, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Error> {
        let url = self.guard.parse(address)?;
        let client = match Admitted::for_port(&url) {
            Admitted::Usual => &self.usual,
            Admitted::Named => &self.named,
        };
        let request = client.post(url.clone()).headers(headers).body(body);
        let answered = async {
            let response = request.send().await.map_err(|error| convert(&url, error))?;
            let status = response.status();
            discard(response).await;
            Ok(status)
        };
        timeout(TOTAL_TIME, answered).await.map_err(|elapsed| Error::unavailable(shown(&url), elapsed))?
    }
}

/// Reads the little that an answer should have, so that its connection can be used again.
async fn discard(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(piece)) = response.chunk().await {
        read += piece.len();
        if read > READ {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_to_an_address_that_is_not_public() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let elsewhere = vec!["10.0.0.0/8".parse().unwrap()];
        for (networks, host) in
            [(vec![], "127.0.0.1"), (elsewhere.clone(), "127.0.0.1"), (elsewhere, "localhost")]
        {
            let sender = HttpsSender::new(networks, b"").unwrap();
            let address = format!("https://{host}:{port}/");
            let sent = sender.post(&address, HeaderMap::new(), Bytes::new()).await;
            assert!(matches!(sent, Err(Error::Refused { .. })), "{sent:?}");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
