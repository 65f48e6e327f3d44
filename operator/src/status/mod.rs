//! What the status subresources are to say. Pure: computed from the decision that is being applied.

mod job;
mod pool;

pub(crate) use job::after;
pub(crate) use pool::{PoolFacts, pool};
