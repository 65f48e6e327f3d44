//! TRELLIS on libtorch: an image or a text in, 3D asset files out.
