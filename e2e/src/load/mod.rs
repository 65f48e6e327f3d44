//! Load on the REST API: clients, the ways in which they send, and what came of it. `make load` plays scenarios; the bench measures with it.

mod client;
mod patterns;
mod scenario;
mod stream;
mod tally;
mod target;

pub use client::{Client, Lean, Request};
pub use patterns::{closed, paced};
pub use scenario::{Kind, Limits, Outcome, Scenario, Stage, schedule};
pub use stream::{Event, Events};
pub use tally::Tally;
pub use target::{Target, play};
