//! The local Kubernetes cluster and the tests that need one.

mod apiserver;
pub mod bench;
mod bucket;
pub mod chart;
pub mod cluster;
mod command;
mod control_plane;
mod crds;
pub mod demo;
mod dump;
mod exit;
pub mod images;
pub mod installation;
pub mod kubelet;
pub mod load;
mod logs;
mod namespace;
pub mod node;
pub mod paths;
pub mod photo;
mod pki;
pub mod processes;
mod settings;
pub mod sim;
pub mod steps;
pub mod tools;
mod wait;

pub use apiserver::{ApiServer, AuditEvent, AuditLog, AuditObject, AuditStatus, AuditUser};
pub use bucket::EmulatedBucket;
pub use command::pipe;
pub use crds::{install_crds, install_definitions};
pub use dump::dump;
pub use exit::exit;
pub use logs::{LOG_LEVEL, OwnLog, own_log, tells_none};
pub use namespace::{Namespace, in_namespace};
pub use settings::operator_settings;
