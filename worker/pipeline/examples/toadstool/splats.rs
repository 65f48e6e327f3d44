//! Gaussians on the surface of the formula, as the decoder of trained ones lays them: 32 in each voxel, flat along the surface.

use rayon::prelude::*;
use trellis::asset::Gaussians;
use trellis::asset::gaussians::HARMONIC;

use crate::field::Cell;
use crate::noise::random;
use crate::shape::solid;
use crate::vector::{Point, dot, length, minus, plus, times};

const VOXELS: f32 = 64.0;
const PER_VOXEL: i32 = 32;
/// Standard deviations along the surface and across it.
const SCALES: Point = [0.0016, 0.0016, 0.0006];
/// Steps towards the surface.
const STEPS: usize = 2;

/// Those of some voxels.
pub(crate) fn on(voxels: &[Cell]) -> Gaussians {
    let places: Vec<(Point, Point, Point)> = voxels
        .par_iter()
        .flat_map_iter(|&voxel| (0..PER_VOXEL).filter_map(move |index| place(voxel, index)))
        .collect();
    let mut gaussians = Gaussians::default();
    for (position, normal, color) in places {
        gaussians.positions.push(position);
        gaussians.harmonics.push(color.map(|value| (value - 0.5) / HARMONIC));
        gaussians.opacities.push(0.95);
        gaussians.scales.push(SCALES);
        gaussians.rotations.push(from_z_to(normal));
    }
    gaussians
}

/// Position, normal and colour of one: a random place of the voxel, moved to the surface. `None` where the formula leads elsewhere.
fn place(voxel: Cell, index: i32) -> Option<(Point, Point, Point)> {
    let seed = [i32::from(voxel[0]), i32::from(voxel[1]), i32::from(voxel[2])];
    let mut point: Point = std::array::from_fn(|axis| {
        let shift = random([seed[0] << 8 | seed[1], seed[2], index * 3 + axis as i32]);
        (f32::from(voxel[axis]) + 0.5 + 0.75 * shift) / VOXELS - 0.5
    });
    let mut normal = normal(point)?;
    for _ in 0..STEPS {
        point = minus(point, times(normal, solid(point).distance));
        normal = self::normal(point)?;
    }
    let end = solid(point);
    (end.distance.abs() < 0.002).then_some((point, normal, end.color))
}

/// The direction in which the distance grows.
fn normal(point: Point) -> Option<Point> {
    const STEP: f32 = 5e-4;
    let slope: Point = std::array::from_fn(|axis| {
        let step = std::array::from_fn(|other| if other == axis { STEP } else { 0.0 });
        solid(plus(point, step)).distance - solid(minus(point, step)).distance
    });
    let length = length(slope);
    (length > 0.0).then(|| times(slope, 1.0 / length))
}

/// The shortest turn of the z axis to a direction, as a quaternion w, x, y, z.
fn from_z_to(direction: Point) -> [f32; 4] {
    let w = 1.0 + dot(direction, [0.0, 0.0, 1.0]);
    if w < 1e-6 { [0.0, 1.0, 0.0, 0.0] } else { [w, -direction[1], direction[0], 0.0] }
}
