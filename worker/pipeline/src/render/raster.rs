//! Triangles to samples, the nearest in front.

use rayon::prelude::*;

use crate::mesh::srgb_from_linear;

/// Rows that one thread draws.
const BAND: usize = 32;

/// A square of samples with depth.
#[derive(Debug)]
pub(super) struct Raster {
    side: usize,
    samples: Vec<Sample>,
}

/// What is seen at a place of the picture.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Infinite where nothing is.
    depth: f32,
    /// Linear light.
    light: [f32; 3],
}

/// A corner of a triangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corner {
    /// Column, row and depth in the picture.
    pub(super) place: [f32; 3],
    /// The linear light that it sends to the viewer.
    pub(super) light: [f32; 3],
}

impl Raster {
    /// Draws the triangles among `corners` on a square of `side` samples. Each band of rows sees all triangles in order,
    /// so that the picture does not depend on the number of threads.
    pub(super) fn draw(side: usize, corners: &[Corner], faces: &[[u32; 3]]) -> Self {
        let mut samples = vec![Sample { depth: f32::INFINITY, light: [0.0; 3] }; side * side];
        samples.par_chunks_mut(side * BAND).enumerate().for_each(|(index, samples)| {
            let mut band = Band { first: index * BAND, side, samples };
            for face in faces {
                band.draw(face.map(|vertex| corners[vertex as usize]));
            }
        });
        Self { side, samples }
    }

    /// Pixels of `size` × `size` samples each: sRGB with straight alpha.
    pub(super) fn pixels(&self, size: usize) -> Vec<[u8; 4]> {
        let width = self.side / size;
        let pixel = |index: usize| {
            let (row, column) = (index / width * size, index % width * size);
            let samples = (0..size).flat_map(|y| &self.samples[(row + y) * self.side + column..][..size]);
            let (covered, sum) = samples.filter(|sample| sample.depth.is_finite()).fold(
                (0, [0.0f32; 3]),
                |(covered, sum), sample| {
                    (covered + 1, std::array::from_fn(|channel| sum[channel] + sample.light[channel]))
                },
            );
            let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
            let [r, g, b] = sum.map(|light| byte(srgb_from_linear(light / covered.max(1) as f32)));
            [r, g, b, byte(covered as f32 / (size * size) as f32)]
        };
        (0..width * width).into_par_iter().map(pixel).collect()
    }
}

/// Some rows of the picture.
struct Band<'a> {
    first: usize,
    side: usize,
    samples: &'a mut [Sample],
}

impl Band<'_> {
    fn draw(&mut self, corners: [Corner; 3]) {
        let rows = self.samples.len() / self.side;
        let [a, b, c] = corners.map(|corner| corner.place);
        // Samples lie at the middles of their squares; those between the outermost corners may be inside.
        let range = |axis: usize, first: usize, count: usize| {
            let low = a[axis].min(b[axis]).min(c[axis]) - 0.5 - first as f32;
            let high = a[axis].max(b[axis]).max(c[axis]) - 0.5 - first as f32;
            low.ceil().max(0.0) as usize..((high.floor() + 1.0).max(0.0) as usize).min(count)
        };
        let rows = range(1, self.first, rows);
        let area = twice_area(a, b, [c[0], c[1]]);
        if rows.is_empty() || !area.is_normal() {
            return;
        }
        for row in rows {
            for column in range(0, 0, self.side) {
                let at = [column as f32 + 0.5, (self.first + row) as f32 + 0.5];
                let shares = [twice_area(b, c, at), twice_area(c, a, at), twice_area(a, b, at)]
                    .map(|part| part / area);
                if shares.iter().all(|&share| share >= 0.0) {
                    self.samples[row * self.side + column].cover(&corners, shares);
                }
            }
        }
    }
}

impl Sample {
    /// Shows the point of a triangle that divides the triangle's picture by `shares`, if it is the nearest so far.
    fn cover(&mut self, corners: &[Corner; 3], shares: [f32; 3]) {
        // In perspective, 1 / depth is linear in the picture.
        let inverse: [f32; 3] = std::array::from_fn(|corner| shares[corner] / corners[corner].place[2]);
        let depth = 1.0 / inverse.iter().sum::<f32>();
        if depth < self.depth {
            let blend =
                |channel| (0..3).map(|corner| inverse[corner] * depth * corners[corner].light[channel]).sum();
            *self = Self { depth, light: [0, 1, 2].map(blend) };
        }
    }
}

fn twice_area(a: [f32; 3], b: [f32; 3], [x, y]: [f32; 2]) -> f32 {
    (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
}
