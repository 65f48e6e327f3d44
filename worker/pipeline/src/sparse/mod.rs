//! Tensors with values on the active voxels of a grid, and the operations on them.
