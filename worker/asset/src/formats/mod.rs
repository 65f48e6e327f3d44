//! Asset files.

pub mod glb;
