//! Light: a soft lamp above the viewer's left shoulder, and a sky that is brighter than the ground.

use crate::mesh::{dot, linear_from_srgb};

const LAMP: [f32; 3] = [-0.35, -0.65, 0.68];
const LAMP_STRENGTH: f32 = 0.75;
const SKY: f32 = 0.45;
const GROUND: f32 = 0.2;

/// Linear light that a point of the surface with a unit normal sends to the viewer.
pub(super) fn shade(srgb: [f32; 3], normal: [f32; 3]) -> [f32; 3] {
    // Half Lambert: light wraps around the object, so that no side is lost in black.
    let lamp = (0.5 + 0.5 * dot(normal, LAMP)).clamp(0.0, 1.0).powi(2);
    let ambient = GROUND + (SKY - GROUND) * (0.5 + 0.5 * normal[2]);
    srgb.map(|value| linear_from_srgb(value) * (ambient + LAMP_STRENGTH * lamp))
}
