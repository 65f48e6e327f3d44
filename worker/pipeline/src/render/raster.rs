//! Triangles to samples, the nearest in front.

use super::camera::Camera;
use super::shade::shade;
use crate::mesh::{Mesh, srgb_from_linear};

/// A square of samples with depth.
#[derive(Debug)]
pub(super) struct Raster {
    side: usize,
    depth: Vec<f32>,
    /// Linear light.
    light: Vec<[f32; 3]>,
}

impl Raster {
    pub(super) fn new(side: usize) -> Self {
        Self { side, depth: vec![f32::INFINITY; side * side], light: vec![[0.0; 3]; side * side] }
    }

    /// Draws all faces. Where a hole shows the inside, it is lit as if its normals pointed to the viewer.
    pub(super) fn draw(&mut self, mesh: &Mesh, camera: &Camera) {
        let projected: Vec<[f32; 3]> = mesh.vertices.iter().map(|&vertex| camera.project(vertex)).collect();
        for &face in &mesh.faces {
            let facing = if camera.sees_front(mesh.corners(face)) { 1.0 } else { -1.0 };
            let corners = face.map(|vertex| vertex as usize);
            self.triangle(corners.map(|vertex| projected[vertex]), |weights| {
                let blend = |values: &[[f32; 3]], scale: f32| -> [f32; 3] {
                    std::array::from_fn(|axis| {
                        let terms = corners
                            .iter()
                            .zip(weights)
                            .map(|(&vertex, weight)| values[vertex][axis] * weight);
                        scale * terms.sum::<f32>()
                    })
                };
                shade(blend(&mesh.colors, 1.0), blend(&mesh.normals, facing))
            });
        }
    }

    /// Draws one triangle; `light` is asked for the samples where it is nearest, by the weights of its corners.
    fn triangle(&mut self, corners: [[f32; 3]; 3], light: impl Fn([f32; 3]) -> [f32; 3]) {
        let [a, b, c] = corners;
        let area = twice_area(a, b, [c[0], c[1]]);
        if !area.is_finite() || area == 0.0 {
            return;
        }
        let last = self.side.saturating_sub(1) as f32;
        let range = |axis: usize| {
            let (low, high) = (a[axis].min(b[axis]).min(c[axis]), a[axis].max(b[axis]).max(c[axis]));
            // Samples lie at the middles of their squares.
            let first = (low - 0.5).ceil().clamp(0.0, last);
            let last = (high - 0.5).floor().clamp(-1.0, last);
            first as usize..(last + 1.0) as usize
        };
        for row in range(1) {
            for column in range(0) {
                let at = [column as f32 + 0.5, row as f32 + 0.5];
                let shares = [twice_area(b, c, at), twice_area(c, a, at), twice_area(a, b, at)]
                    .map(|part| part / area);
                if shares.iter().any(|&share| share < 0.0) {
                    continue;
                }
                // In perspective, 1 / depth is linear in the picture.
                let inverse: [f32; 3] = std::array::from_fn(|corner| shares[corner] / corners[corner][2]);
                let depth = 1.0 / inverse.iter().sum::<f32>();
                let index = row * self.side + column;
                if depth < self.depth[index] {
                    self.depth[index] = depth;
                    self.light[index] = light(inverse.map(|share| share * depth));
                }
            }
        }
    }

    /// Pixels of `samples` × `samples` samples each: sRGB with straight alpha.
    pub(super) fn pixels(&self, samples: usize) -> Vec<[u8; 4]> {
        let size = self.side / samples;
        let pixel = |index: usize| {
            let (row, column) = (index / size * samples, index % size * samples);
            let inside = (0..samples * samples)
                .map(|sample| (row + sample / samples) * self.side + column + sample % samples)
                .filter(|&sample| self.depth[sample].is_finite());
            let (covered, sum) = inside.fold((0, [0.0f32; 3]), |(covered, sum), sample| {
                (covered + 1, std::array::from_fn(|channel| sum[channel] + self.light[sample][channel]))
            });
            let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
            let [r, g, b] = sum.map(|light| byte(srgb_from_linear(light / covered.max(1) as f32)));
            [r, g, b, byte(covered as f32 / (samples * samples) as f32)]
        };
        (0..size * size).map(pixel).collect()
    }
}

fn twice_area(a: [f32; 3], b: [f32; 3], [x, y]: [f32; 2]) -> f32 {
    (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
}
