//! TRELLIS on libtorch: an image or a text in, a 3D asset out.
//!
//! The modules follow the model (Xiang et al., "Structured 3D Latents for Scalable and Versatile 3D Generation",
//! 2024): [`image`], [`background`] and [`dinov2`] turn a photo into a condition, [`clip`] a text, [`sparse_structure`] finds the voxels that the
//! object touches, [`slat`] fills them with structured latents and decodes these, [`flexicubes`] extracts the
//! surface. [`pipeline`] ties them together; most users need only [`Pipeline`].

pub mod background;
pub mod clip;
pub mod device;
pub mod dinov2;
pub mod download;
pub mod error;
pub mod finish;
mod finite;
pub mod flexicubes;
pub mod gpu;
pub mod host;
pub mod image;
mod kernels;
pub mod nn;
pub mod noise;
pub mod pipeline;
pub mod sampler;
pub mod slat;
pub mod sparse;
pub mod sparse_structure;
pub mod weights;

pub use error::{Error, Result};
pub use pipeline::Pipeline;
#[doc(no_inline)]
pub use trellis_asset as asset;
