//! Dual iso-surface extraction from a grid of signed distances.
