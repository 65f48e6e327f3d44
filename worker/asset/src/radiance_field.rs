//! Radiance fields as TRELLIS decodes them (after Gao et al., "Strivec: Sparse Tri-Vector Radiance Fields", 2023).

/// Components of the density and colour of one voxel.
pub const RANK: usize = 16;
/// Samples of a component along each axis.
pub const SAMPLES: usize = 8;

/// A field of density and colour: for each voxel a sum of [`RANK`] products of three vectors, one along each axis. All lists are as long.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RadianceField {
    /// Centres of the voxels in the model's frame moved by ½: 0..1.
    pub positions: Vec<[f32; 3]>,
    /// Of each component and axis its samples across the voxel.
    pub vectors: Vec<[[[f32; SAMPLES]; 3]; RANK]>,
    /// Of each component its share of the density.
    pub density: Vec<[f32; RANK]>,
    /// Of each component its share of the colour's spherical harmonics of degree 0.
    pub harmonics: Vec<[[f32; 3]; RANK]>,
}
