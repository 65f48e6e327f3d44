//! A client that follows a stream of server-sent events.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::client::{Connection, Request};

/// A stream of events.
#[derive(Debug)]
pub struct Events(Connection);

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its data, which is JSON here.
    pub data: Value,
}

impl Events {
    /// Asks for the stream at `path`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn open(address: SocketAddr, path: &str, key: &str) -> Result<Self> {
        let mut connection = Connection::open(address).await?;
        let head = connection.begin(&Request::get(path, key)).await?;
        ensure!(head.status == 200, "the stream is answered with {}", head.status);
        ensure!(head.length.is_none(), "the stream has a length");
        Ok(Self(connection))
    }

    /// The next event; `None` when the stream is over.
    ///
    /// # Errors
    /// When the connection breaks, or an event's data is no JSON.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(line) = self.line() {
                // What else there is: the other fields of events, heartbeats, and the sizes of chunks, of which the last is 0.
                if let Some(data) = line.strip_prefix("data:") {
                    let data = serde_json::from_str(data).context("an event's data is no JSON")?;
                    return Ok(Some(Event { data }));
                }
                if line == "0" {
                    return Ok(None);
                }
                continue;
            }
            self.0.read().await?;
        }
    }

    fn line(&mut self) -> Option<String> {
        let buffer = self.0.come();
        let end = buffer.iter().position(|&byte| byte == b'\n')?;
        let line = buffer.split_to(end + 1);
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}
