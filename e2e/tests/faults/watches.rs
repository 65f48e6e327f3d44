//! Watches whose lines go wrong as the schedule says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::layer::{Answer, Program};
use crate::schedule::LineFault;

/// How long a line waits for the next one, with which it changes places.
const SWAP: Duration = Duration::from_millis(300);

/// `body`, line by line, as the program gets it.
pub(crate) fn troubled(program: Arc<Program>, death: CancellationToken, body: Body) -> Answer {
    let lines =
        Lines { body: body.into_data_stream().boxed(), read: BytesMut::new(), waiting: VecDeque::new() };
    let troubled = Troubled { program, death, lines: Some(lines) };
    let frames = stream::unfold(troubled, |mut troubled| async move {
        let death = troubled.death.clone();
        let line = tokio::select! {
            line = troubled.next() => line?,
            () = death.cancelled() => std::future::pending().await,
        };
        Some((line.map(Frame::data), troubled))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The lines of a body.
struct Lines<S> {
    body: S,
    read: BytesMut,
    /// Lines that come first, and surely: a watch that is taken up again after them begins behind them.
    waiting: VecDeque<Bytes>,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<BoxError>,
{
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                return Some(Ok(self.read.split_to(end + 1).freeze()));
            }
            match self.body.next().await? {
                Ok(bytes) => self.read.extend_from_slice(&bytes),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

struct Troubled<S> {
    program: Arc<Program>,
    /// Of the program as it was when it began to watch.
    death: CancellationToken,
    /// `None` once the watch has ended.
    lines: Option<Lines<S>>,
}

impl<S, E> Troubled<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<BoxError>,
{
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        let lines = self.lines.as_mut()?;
        if let Some(line) = lines.waiting.pop_front() {
            return Some(Ok(line));
        }
        let line = match lines.next().await? {
            Ok(line) => line,
            failed => return Some(failed),
        };
        let faults = &self.program.faults;
        let fault = match faults.on.load(Relaxed) {
            true => faults.schedule.line(&self.program.name, self.program.next_line()),
            false => LineFault::Pass,
        };
        if fault != LineFault::Pass {
            faults.note(format!("{}: {}: {fault:?}", self.program.name, Event::of(&line).about));
        }
        match fault {
            LineFault::Pass => {}
            LineFault::Delay(time) => tokio::time::sleep(time).await,
            LineFault::Twice => lines.waiting.push_front(line.clone()),
            LineFault::Swapped => return self.swapped(line).await,
            LineFault::Cut => {
                self.lines = None;
                return None;
            }
            LineFault::Expired => {
                self.lines = None;
                return Some(Ok(expired()));
            }
        }
        Some(Ok(line))
    }

    /// The next line, if it comes soon and is about another object; the API server never changes the order of one object's. A
    /// bookmark promises that all before it was seen, and so is not passed either.
    async fn swapped(&mut self, line: Bytes) -> Option<Result<Bytes, BoxError>> {
        let lines = self.lines.as_mut()?;
        let Ok(next) = tokio::time::timeout(SWAP, lines.next()).await else { return Some(Ok(line)) };
        let Some(Ok(next)) = next else {
            self.lines = None;
            return Some(Ok(line));
        };
        let events = [&line, &next].map(Event::of);
        let apart = events[0].about != events[1].about && events.iter().all(|event| event.is_change);
        let [first, second] = if apart { [next, line] } else { [line, next] };
        lines.waiting.push_front(second);
        Some(Ok(first))
    }
}

/// What a line tells.
struct Event {
    is_change: bool,
    about: String,
}

impl Event {
    fn of(line: &Bytes) -> Self {
        let value: Value = serde_json::from_slice(line).unwrap_or_default();
        let kind = value["type"].as_str().unwrap_or_default();
        let metadata = &value["object"]["metadata"];
        Self {
            is_change: matches!(kind, "ADDED" | "MODIFIED" | "DELETED"),
            about: format!("{} {}", value["object"]["kind"].as_str().unwrap_or("?"), metadata["name"]),
        }
    }
}

fn expired() -> Bytes {
    let status = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
        "reason": "Expired", "message": "too old resource version (on purpose)",
    }});
    Bytes::from(format!("{status}\n"))
}
