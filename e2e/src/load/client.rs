//! Clients, as load is made with.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends one request after the other.
pub trait Client: Send + 'static {
    /// Sends the request of this number, reads the answer to its end, and returns its status.
    fn send(&mut self, number: u64) -> impl Future<Output = Result<u16>> + Send;
}

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Request(Bytes);

impl Request {
    /// A request without a body.
    pub fn get(path: &str, key: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\r\n").into())
    }

    /// A request with a JSON body.
    pub fn post(path: &str, key: &str, body: &serde_json::Value) -> Self {
        let body = body.to_string();
        let length = body.len();
        Self(
            format!(
                "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
                 content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .into(),
        )
    }
}

/// A connection that is kept, on which one request waits for the answer to the one before. It does next to nothing beside reading and writing, for
/// where it shares the processors with what it measures.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// How long the body is; `None` where it comes in chunks.
    pub(super) length: Option<usize>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(16 << 10) })
    }

    /// Sends `request`, and reads the head of its answer.
    pub(super) async fn begin(&mut self, request: &Request) -> Result<Head> {
        self.stream.write_all(&request.0).await.context("cannot send")?;
        loop {
            if let Some((head, size)) = parse(&self.buffer)? {
                self.buffer.advance(size);
                return Ok(head);
            }
            self.read().await?;
        }
    }

    /// What has come and was not taken yet.
    pub(super) fn come(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Waits until more has come.
    pub(super) async fn read(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await.context("cannot receive")?;
        ensure!(read > 0, "the connection was closed");
        Ok(())
    }

    /// Sends `request`, reads the answer to its end, and returns its status.
    pub(super) async fn exchange(&mut self, request: &Request) -> Result<u16> {
        let head = self.begin(request).await?;
        let Some(mut left) = head.length else { bail!("the answer comes in chunks") };
        loop {
            let taken = left.min(self.buffer.len());
            self.buffer.advance(taken);
            left -= taken;
            if left == 0 {
                return Ok(head.status);
            }
            self.read().await?;
        }
    }
}

/// The head at the beginning of `bytes` and how long it is, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(size) = response.parse(bytes)? else { return Ok(None) };
    let status = response.code.context("the answer has no status")?;
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let length = match (value("content-length"), value("transfer-encoding")) {
        (Some(length), _) => Some(length.parse()?),
        (None, Some(_)) => None,
        (None, None) => Some(0),
    };
    Ok(Some((Head { status, length }, size)))
}

/// A client on a connection of its own, opened when it is first needed and again when it is gone. It sends the requests that `choose` names.
#[derive(Debug)]
pub struct Lean<F> {
    address: SocketAddr,
    connection: Option<Connection>,
    choose: F,
}

impl<F: Fn(u64) -> Request> Lean<F> {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr, choose: F) -> Self {
        Self { address, connection: None, choose }
    }
}

impl<F: Fn(u64) -> Request + Send + 'static> Client for Lean<F> {
    async fn send(&mut self, number: u64) -> Result<u16> {
        let request = (self.choose)(number);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address).await?,
        };
        let status = connection.exchange(&request).await?;
        self.connection = Some(connection);
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_when_it_is_whole() {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(parse(&text[..30]).unwrap(), None);
        let head = Head { status: 202, length: Some(3) };
        assert_eq!(parse(text).unwrap(), Some((head, text.len() - 3)));
        let stream = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(parse(stream).unwrap().unwrap().0, Head { status: 200, length: None });
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().0.length, Some(0));
        assert!(parse(b"SSH-2.0-x\r\n").is_err());
    }
}
