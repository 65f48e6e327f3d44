//! WorkerPool: workers that are alike, and how many of them there are.
// KubeSchema copies each struct, with its `pub`, into a function body.
#![expect(unreachable_pub)]

mod spec;
mod status;

pub use spec::*;
pub use status::*;
