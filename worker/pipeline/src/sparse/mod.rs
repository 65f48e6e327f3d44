//! Tensors with values on the active voxels of a grid, and the operations on them (SPEC section 3).
//!
//! Everything that depends on the voxels alone (neighbours, parents, windows) is computed once for each [`Grid`], with
//! tensor operations on its device. Sums gather in a fixed order instead of scattering, so that CUDA too gives the same
//! bytes each time.

mod attention;
mod conv;
mod grid;
mod groups;
mod norm;
mod subdivision;
mod tensor;
mod windows;

pub use attention::windowed_attention;
pub use conv::{Convolution, PointwiseConvolution, SubdividingConvolution};
pub use grid::Grid;
pub(crate) use grid::{coords_of_keys, keys};
pub use groups::Groups;
pub use norm::GroupNorm;
pub use tensor::SparseTensor;
pub use windows::Windows;
