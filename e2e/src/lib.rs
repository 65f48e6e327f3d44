//! The local Kubernetes cluster and the tests that need one.

mod apiserver;
mod control_plane;
mod crds;
mod namespace;
pub mod paths;
mod pki;
pub mod tools;

pub use apiserver::{ApiServer, AuditEvent, AuditObject, AuditStatus, AuditUser};
pub use crds::install_crds;
pub use namespace::Namespace;
