//! What people watch the service by: the chart's rules and dashboard, and what the programs export for them.

mod collector;
#[expect(dead_code, reason = "the tests of the operator need more of it")]
#[path = "../operator/fixture.rs"]
mod fixture;
mod logs;
mod metrics;
mod rules;
mod service;
mod shipped;
mod traces;
#[expect(dead_code, reason = "the tests of the operator need more of it")]
#[path = "../operator/workers.rs"]
mod workers;
