//! Gaussian splats (Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", 2023), without dependence on the
//! direction of view.

/// Gaussians in the model's frame, all lists of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gaussians {
    /// Centres.
    pub positions: Vec<[f32; 3]>,
    /// Colours as coefficients of degree 0 of spherical harmonics: sRGB = ½ + 0.28209479177387814 · c.
    pub harmonics: Vec<[f32; 3]>,
    /// Opacities, 0..1.
    pub opacities: Vec<f32>,
    /// Standard deviations along the three own axes.
    pub scales: Vec<[f32; 3]>,
    /// Orientations: quaternions w, x, y, z, not necessarily of length 1.
    pub rotations: Vec<[f32; 4]>,
}
