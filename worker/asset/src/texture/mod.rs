//! A picture for the surface of a mesh: unwrapped into the plane, and painted with what Gaussians, a radiance field or the colours of a finer mesh show
//! at each place.
//!
//! Colours are sRGB all the way, as Gaussians and radiance fields were fitted to sRGB pictures by blending sRGB values: nothing here converts to
//! linear light or back, and the file formats store the picture as it is.

mod unwrap;

pub use unwrap::unwrap;
