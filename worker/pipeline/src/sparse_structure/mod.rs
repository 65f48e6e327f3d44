//! Sparse structure: the flow that samples a latent grid, and the decoder that says which voxels are active.

mod conv;
mod decoder;
mod flow;

pub use decoder::{SparseStructureDecoder, active_voxels};
pub use flow::{SparseStructureConfig, SparseStructureFlow};
