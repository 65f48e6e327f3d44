//! Light: a soft lamp above the viewer's left shoulder that goes where the viewer goes, a sky that is brighter than the ground, and a rim of light that
//! keeps dark edges off a dark page.

use super::camera::Camera;
use crate::mesh::{dot, normalised, srgb_from_linear};

/// Towards the lamp: right, up and away as the camera has them.
const LAMP: [f32; 3] = [-0.45, 0.6, -0.66];
const LAMP_STRENGTH: f32 = 0.78;
const SKY: f32 = 0.42;
const GROUND: f32 = 0.2;
const RIM: f32 = 0.12;

/// The light of a picture.
pub(super) struct Light {
    lamp: [f32; 3],
    viewer: [f32; 3],
}

impl Light {
    pub(super) fn beside(camera: &Camera) -> Self {
        let lamp = normalised(camera.turn_back(LAMP)).unwrap_or([0.0, -1.0, 0.0]);
        Self { lamp, viewer: camera.turn_back([0.0, 0.0, -1.0]) }
    }

    /// Linear light that a point of the surface with a linear colour and a unit normal sends to the viewer.
    pub(super) fn on(&self, normal: [f32; 3], color: [f32; 3]) -> [f32; 3] {
        // Half Lambert: light wraps around the object, so that no side is lost in black.
        let lamp = (0.5 + 0.5 * dot(normal, self.lamp)).clamp(0.0, 1.0).powi(2);
        let ambient = GROUND + (SKY - GROUND) * (0.5 + 0.5 * normal[2]);
        let rim = RIM * (1.0 - dot(normal, self.viewer).abs()).powi(3) * (0.5 + 0.5 * normal[2]);
        color.map(|value| value * (ambient + LAMP_STRENGTH * lamp) + rim * (0.15 + 0.85 * value))
    }
}

/// The byte of sRGB for linear light.
pub(super) fn encode(light: f32) -> u8 {
    (srgb_from_linear(light.clamp(0.0, 1.0)) * 255.0).round() as u8
}
