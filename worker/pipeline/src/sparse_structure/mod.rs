//! Sparse structure: the flow that samples a latent grid, the decoder that says which voxels are active, and the encoder
//! that makes a latent grid of them.

mod conv;
mod decoder;
mod encoder;
mod flow;
mod levels;

pub use decoder::{SparseStructureDecoder, active_voxels};
pub use encoder::SparseStructureEncoder;
pub use flow::{SparseStructureConfig, SparseStructureFlow};
