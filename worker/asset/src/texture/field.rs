//! Radiance fields as seen from near by.

use super::bvh::Bounds;
use super::shade::Volume;
use super::view::{Look, View};
use crate::RadianceField;
use crate::radiance_field::{RANK, SAMPLES};

/// The constant spherical harmonic.
const HARMONIC: f32 = 0.282_094_8;
/// Voxels along each axis of the model's frame: the decoder's tree is 6 levels deep.
const SIDE: usize = 64;
/// The samples of a look are so many to a voxel.
const SAMPLES_PER_VOXEL: f32 = 8.0;
/// A look has at most so many.
const MAX_SAMPLES: usize = 64;
/// A look ends where less than this is still to be seen.
const LEAST_TRANSMITTANCE: f32 = 0.01;

/// A radiance field whose voxels can be found.
pub(super) struct Field<'a> {
    field: &'a RadianceField,
    /// Of each place in the cube its voxel's number and 1, or 0.
    voxels: Vec<u32>,
}

impl<'a> Field<'a> {
    pub(super) fn new(field: &'a RadianceField) -> Self {
        let mut voxels = vec![0; SIDE * SIDE * SIDE];
        for (index, position) in field.positions.iter().enumerate() {
            if let Some((cell, _)) = cell(position.map(|x| x - 0.5)) {
                voxels[cell] = index as u32 + 1;
            }
        }
        Self { field, voxels }
    }

    /// Density and colour at a point, if it is in a voxel.
    fn sample(&self, point: [f32; 3]) -> Option<(f32, [f32; 3])> {
        let (cell, inside) = cell(point)?;
        let voxel = (self.voxels[cell] as usize).checked_sub(1)?;
        let (vectors, shares) = (&self.field.vectors[voxel], &self.field.density[voxel]);
        // Samples lie at the middles of eighths; beyond the outermost the line goes on.
        let at = inside.map(|x| x * SAMPLES as f32 - 0.5);
        let low = at.map(|x| (x as usize).min(SAMPLES - 2));
        let (mut density, mut harmonics) = (0.0, [0.0; 3]);
        for rank in 0..RANK {
            let along = |axis: usize| {
                let (vector, low) = (&vectors[rank][axis], low[axis]);
                vector[low] + (at[axis] - low as f32) * (vector[low + 1] - vector[low])
            };
            let product = along(0) * along(1) * along(2);
            density += shares[rank] * product;
            for (sum, harmonic) in harmonics.iter_mut().zip(self.field.harmonics[voxel][rank]) {
                *sum += HARMONIC * harmonic * product;
            }
        }
        let softplus = density.max(0.0) + (-density.abs()).exp().ln_1p();
        Some((softplus, harmonics.map(|x: f32| 1.0 / (1.0 + (-x).exp()))))
            .filter(|(density, color)| density.is_finite() && color.iter().all(|x| x.is_finite()))
    }
}

/// The cell of the cube that a point is in, and where in the cell it is.
fn cell(point: [f32; 3]) -> Option<(usize, [f32; 3])> {
    let scaled = point.map(|x| (x + 0.5) * SIDE as f32);
    let within = scaled.iter().all(|&x| (0.0..SIDE as f32).contains(&x));
    let [x, y, z] = scaled.map(|x| x as usize);
    within.then(|| ((x * SIDE + y) * SIDE + z, scaled.map(f32::fract)))
}

impl Volume for Field<'_> {
    type Near = ();
    type Seen = View;

    fn near(&self, _: &Bounds) {}

    fn seen(&self, (): &(), view: &View, _: &Bounds) -> View {
        *view
    }

    fn look(&self, view: &View, look: &Look) -> [f32; 4] {
        let way = look.outside + look.inside;
        let steps = ((way * SIDE as f32 * SAMPLES_PER_VOXEL).ceil() as usize).clamp(1, MAX_SAMPLES);
        let step = way / steps as f32;
        let [x, y, depth] = look.place;
        let (mut sum, mut transmittance) = ([0.0f32; 3], 1.0f32);
        for index in 0..steps {
            let depth = depth + look.outside - (index as f32 + 0.5) * step;
            let point = std::array::from_fn(|axis| {
                view.origin[axis] + x * view.right[axis] + y * view.up[axis] + depth * view.outwards[axis]
            });
            let Some((density, color)) = self.sample(point) else { continue };
            let alpha = 1.0 - (-density * step).exp();
            for (sum, color) in sum.iter_mut().zip(color) {
                *sum += transmittance * alpha * color;
            }
            transmittance *= 1.0 - alpha;
            if transmittance < LEAST_TRANSMITTANCE {
                break;
            }
        }
        [sum[0], sum[1], sum[2], 1.0 - transmittance]
    }

    fn around(&self, (): &(), point: [f32; 3], _: f32) -> [f32; 4] {
        self.sample(point).map_or([0.0; 4], |(_, [r, g, b])| [r, g, b, 1.0])
    }
}
