//! Triangles to samples, the nearest in front.

use std::ops::Range;

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
        let spans: Vec<Range<u16>> =
            faces.par_iter().map(|face| span_of(face.map(|vertex| corners[vertex as usize]), 1)).collect();
        let mut samples = vec![Sample { depth: f32::INFINITY, light: [0.0; 3] }; side * side];
        samples.par_chunks_mut(side * BAND).enumerate().for_each(|(index, samples)| {
            let mut band = Band { first: index * BAND, side, samples };
            for (face, span) in faces.iter().zip(&spans) {
                band.draw(|| face.map(|vertex| corners[vertex as usize]), span);
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
    /// Draws a triangle that spans the rows `span` of the picture.
    fn draw(&mut self, corners: impl FnOnce() -> [Corner; 3], span: &Range<u16>) {
        let end = self.first + self.samples.len() / self.side;
        let rows = usize::from(span.start).max(self.first)..usize::from(span.end).min(end);
        if rows.is_empty() {
            return;
        }
        let corners = corners();
        let [a, b, c] = corners.map(|corner| corner.place);
        let area = twice_area(a, b, [c[0], c[1]]);
        if !area.is_normal() {
            return;
        }
        let columns = span_of(corners, 0);
        let columns = usize::from(columns.start)..usize::from(columns.end).min(self.side);
        for row in rows {
            for column in columns.clone() {
                let at = [column as f32 + 0.5, row as f32 + 0.5];
                let shares = [twice_area(b, c, at), twice_area(c, a, at), twice_area(a, b, at)]
                    .map(|part| part / area);
                if shares.iter().all(|&share| share >= 0.0) {
                    self.samples[(row - self.first) * self.side + column].cover(&corners, shares);
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

/// The rows (axis 1) or columns (0) of samples between the outermost corners. Samples lie at the middles of their squares.
fn span_of(corners: [Corner; 3], axis: usize) -> Range<u16> {
    let [a, b, c] = corners.map(|corner| corner.place[axis] - 0.5);
    // A cast keeps what is beyond the numbers of u16, or none, at the nearest of them.
    a.min(b).min(c).ceil() as u16..(a.max(b).max(c).floor() + 1.0) as u16
}

fn twice_area(a: [f32; 3], b: [f32; 3], [x, y]: [f32; 2]) -> f32 {
    (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
}
