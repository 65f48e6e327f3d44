//! Structured latents (SLat): the flow that samples them on the active voxels, and the decoder that turns them into a
//! mesh.

mod cubes;
mod flow;
mod mesh_decoder;
mod residual;
mod subdivide;
mod swin;
mod transformer;

pub use cubes::{Corners, CubeLayout};
pub use flow::{FlowOnGrid, SlatFlow, SlatFlowConfig};
pub use mesh_decoder::{MeshDecoder, MeshDecoderConfig, RepresentationConfig};
pub use residual::{Resampling, ResidualBlock};
pub use subdivide::SubdivideBlock;
pub use swin::SwinBlock;
pub use transformer::{SwinTransformer, TransformerConfig};
