//! Simulated workers: the workers' own protocol, many in one process, with an engine that only waits.

mod fleet;
mod player;
mod shelf;

pub use fleet::Fleet;
pub use player::Player;
