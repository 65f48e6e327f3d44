//! WorkerPool: workers that are alike, and how many of them there are.
// KubeSchema copies each struct, with its `pub`, into a function body.
#![expect(unreachable_pub)]

mod spec;
mod status;

pub use spec::*;
pub use status::*;

/// The exit code of a worker that ends because it failed at several jobs in a row, after it reported on each. A job that is assigned
/// to it all the same has no part in that. EX_TEMPFAIL of sysexits.h.
pub const EXIT_FAULTY: i32 = 75;

/// The exit code of a worker that ends because it cannot download or load its model; it says why in its termination message.
/// EX_NOINPUT of sysexits.h.
pub const EXIT_NO_MODEL: i32 = 66;
