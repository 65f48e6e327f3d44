//! Structured latents (SLat): the flow that samples them on the active voxels, the encoder that makes them of features,
//! and the decoders that turn them into a mesh, Gaussians or a radiance field.

mod cubes;
mod encoder;
mod flow;
mod gaussian_decoder;
mod mesh_decoder;
mod radiance_field_decoder;
mod residual;
mod rows;
mod subdivide;
mod swin;
mod transformer;

pub use cubes::{Corners, CubeLayout};
pub use encoder::{SlatEncoder, SlatEncoderConfig};
pub use flow::{FlowOnGrid, SlatFlow, SlatFlowConfig};
pub use gaussian_decoder::{GaussianDecoder, GaussianDecoderConfig, GaussianParameters};
pub use mesh_decoder::{MeshDecoder, MeshDecoderConfig, RepresentationConfig};
pub use radiance_field_decoder::{RadianceFieldDecoder, RadianceFieldDecoderConfig};
pub use residual::{Resampling, ResidualBlock};
pub use subdivide::SubdivideBlock;
pub use swin::SwinBlock;
pub use transformer::{SwinProjection, SwinTransformer, TransformerConfig};
