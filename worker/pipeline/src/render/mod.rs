//! Preview images.
