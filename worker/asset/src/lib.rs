//! 3D assets without libtorch: meshes, Gaussians and radiance fields, what is done to them, their files and pictures of them.
//!
//! Everything here runs on the CPU, on all of its cores, and gives the same bytes however many these are.

pub mod error;
pub mod formats;
pub mod gaussians;
mod joined;
pub mod mesh;
pub mod postprocess;
pub mod radiance_field;
pub mod render;
pub mod texture;
pub mod voxelize;

pub use error::{Error, Result};
pub use gaussians::Gaussians;
pub use mesh::{Mesh, Paint};
pub use radiance_field::RadianceField;
