//! How a worker takes and reports the jobs that the operator assigns to its pod, whatever makes their assets.
//!
//! [`serve`] watches and takes them, one at a time, and hands each attempt to an [`Engine`]; what the engine says is written into the
//! job's status so that neither a blip of the API server nor somebody else's write loses it. `docs/architecture.md` has the contract.
//! There is no libtorch here: the worker of the images brings the model as its engine, tests bring one that only waits.
//!
//! ```no_run
//! # use trellis_worker_core::{Engine, Failure, Identity, Metrics, Pace, Product, Work, Worker, serve};
//! struct Nothing;
//!
//! impl Engine for Nothing {
//!     async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
//!         Ok(Some(Product::since(work.start)))
//!     }
//! }
//!
//! # async fn doc(client: kube::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let worker = Worker {
//!     client,
//!     identity: Identity { pod_name: "image-1".into(), pod_uid: "…".into() },
//!     engine: Nothing,
//!     metrics: Metrics::new(&trellis_telemetry::registry("worker", "1.0.0")?)?,
//!     max_jobs: None,
//!     pace: Pace::default(),
//! };
//! let shutdown = trellis_telemetry::shutdown_signal()?;
//! serve(worker, Some("shop".into()), trellis_telemetry::Health::default(), shutdown).await?;
//! # Ok(()) }
//! ```

mod attempt;
mod desk;
mod engine;
mod failure;
mod metrics;
mod outage;
mod pace;
mod report;
mod service;
mod status;

pub use desk::Identity;
pub use engine::{Engine, Made, Product, Progress, Work, Worker};
pub use failure::{Failure, chain};
pub use metrics::Metrics;
pub use pace::Pace;
pub use service::{Ended, serve};
pub use status::{Period, complete};
