//! Where the mesh is seen from.

use crate::mesh::{Mesh, cross, dot, minus};

const YAW_DEGREES: f32 = 30.0;
const PITCH_DEGREES: f32 = 22.0;
const FIELD_OF_VIEW_DEGREES: f32 = 40.0;
/// The part of the picture that the mesh spans.
const FILL: f32 = 0.92;

/// A perspective camera that looks at the middle of a mesh.
#[derive(Debug)]
pub(super) struct Camera {
    right: [f32; 3],
    up: [f32; 3],
    forward: [f32; 3],
    target: [f32; 3],
    distance: f32,
    /// Samples from the middle of the picture to its edge, divided by the tangent of half the field of view.
    focal: f32,
    half: f32,
}

impl Camera {
    /// A camera so near that the mesh just fits into a square picture of `samples` on each side.
    pub(super) fn framing(mesh: &Mesh, samples: usize) -> Self {
        let (sin_yaw, cos_yaw) = YAW_DEGREES.to_radians().sin_cos();
        let (sin_pitch, cos_pitch) = PITCH_DEGREES.to_radians().sin_cos();
        let forward = [-sin_yaw * cos_pitch, cos_yaw * cos_pitch, -sin_pitch];
        let right = [cos_yaw, sin_yaw, 0.0];
        let half = samples as f32 / 2.0;
        let tangent = (FIELD_OF_VIEW_DEGREES.to_radians() / 2.0).tan();
        let (target, radius) = bounds(mesh);
        let mut camera = Self {
            right,
            up: cross(right, forward),
            forward,
            target,
            distance: 0.0,
            focal: half / tangent,
            half,
        };
        let needed = |vertex: &[f32; 3]| {
            let [right, up, depth] = camera.turn(*vertex);
            (right.abs().max(up.abs()) / (tangent * FILL)).max(radius * 0.1) - depth
        };
        camera.distance = mesh.vertices.iter().map(needed).fold(0.0, f32::max);
        camera
    }

    /// Column, row and depth of a point; rows run downwards.
    pub(super) fn project(&self, point: [f32; 3]) -> [f32; 3] {
        let [right, up, depth] = self.turn(point);
        let depth = depth + self.distance;
        [self.half + self.focal * right / depth, self.half - self.focal * up / depth, depth]
    }

    fn turn(&self, point: [f32; 3]) -> [f32; 3] {
        let point = minus(point, self.target);
        [dot(point, self.right), dot(point, self.up), dot(point, self.forward)]
    }
}

/// Middle and half the diagonal of the bounding box.
fn bounds(mesh: &Mesh) -> ([f32; 3], f32) {
    let bound = |pick: fn(f32, f32) -> f32, start: f32| {
        mesh.vertices
            .iter()
            .fold([start; 3], |bound, vertex| std::array::from_fn(|axis| pick(bound[axis], vertex[axis])))
    };
    let (low, high) = (bound(f32::min, f32::INFINITY), bound(f32::max, f32::NEG_INFINITY));
    let diagonal = minus(high, low);
    let middle = std::array::from_fn(|axis| f32::midpoint(low[axis], high[axis]));
    (middle, (dot(diagonal, diagonal).sqrt() / 2.0).max(f32::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Paint, normalised};

    fn mesh(vertices: Vec<[f32; 3]>) -> Mesh {
        let normals = vec![normalised([0.0, -1.0, 1.0]).unwrap(); vertices.len()];
        Mesh { faces: vec![[0, 1, 2]], normals, vertices, paint: Paint::None }
    }

    #[test]
    fn the_mesh_fits_the_picture_and_is_not_mirrored() {
        let cube =
            (0..8).map(|corner| [corner & 1, corner >> 1 & 1, corner >> 2].map(|bit| bit as f32 * 3.0));
        let mesh = mesh(cube.collect());
        let camera = Camera::framing(&mesh, 100);
        let projected: Vec<_> = mesh.vertices.iter().map(|&vertex| camera.project(vertex)).collect();
        for [column, row, depth] in &projected {
            assert!(
                (0.0..=100.0).contains(column) && (0.0..=100.0).contains(row) && *depth > 0.0,
                "{projected:?}"
            );
        }
        assert!(projected[1][0] > projected[0][0], "x runs to the right");
        assert!(projected[4][1] < projected[0][1], "z runs up");
        assert!(projected[0][2] < projected[2][2], "the front is at low y");
    }
}
