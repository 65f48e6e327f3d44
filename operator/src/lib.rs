//! Schedules GenerationJobs onto warm GPU worker pods.
//!
//! ```text
//! observe (watches) ─> validate ─> world (caches and indexes) ─> plan ─> apply (writes) ─> world
//! ```
//! `validate`, `world`, `plan`, `status` and `pod` are pure: no network, no clock. [`run`] puts the parts together; the contract with
//! workers is in `docs/architecture.md`.

mod action;
mod apply;
#[doc(hidden)]
pub mod bench;
mod client;
mod key;
mod leader;
mod metrics;
mod observe;
mod plan;
mod pod;
mod pressure;
mod run;
mod scheduler;
mod settings;
mod status;
mod text;
mod time;
mod trace;
mod validate;
mod world;

pub use run::{RunError, run};
pub use settings::Settings;
