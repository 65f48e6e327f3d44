//! Objects at `gs://` and `file://`, and the guarded reader and sender of `https://`.
//!
//! What is read and written is checked: sizes against a limit, contents against the CRC32C that the store keeps.
//! Every call has a time limit of its own; what may succeed a moment later is tried again.

mod buckets;
mod digest;
mod error;
mod file;
mod gcs;
mod https;
mod public;
mod storage;
mod uri;

pub use digest::{Digester, Stored};
pub use error::Error;
pub use https::{HttpsReader, HttpsSender, IpNet};
pub use public::is_public;
pub use storage::{Listed, Listing, ObjectReader, Settings, Storage};
pub use uri::ObjectUri;
