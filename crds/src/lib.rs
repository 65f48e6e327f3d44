//! The custom resources [`GenerationJob`] and [`WorkerPool`]: their Rust types, their schema with its CEL rules, and
//! the pure helpers that operator, worker and API share.
//!
//! The doc comments of the fields become the schema's descriptions: `kubectl explain generationjob.spec` is the manual.

pub mod conditions;
mod definition;
mod generation_job;
pub mod labels;
mod worker_pool;

pub use definition::definitions;
pub use generation_job::*;
pub use worker_pool::*;

/// The API group of both kinds.
pub const GROUP: &str = "trellis3d.dev";
/// The version of both kinds.
pub const VERSION: &str = "v1alpha1";
