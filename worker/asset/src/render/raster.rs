//! Triangles to samples: which of them is the nearest at each place of the picture.

use std::ops::Range;

use rayon::prelude::*;

/// Rows that one thread draws.
const BAND: usize = 32;
/// The face of a sample that shows none.
const NOTHING: u32 = u32::MAX;

/// A square of samples.
#[derive(Debug)]
pub(super) struct Raster {
    pub(super) side: usize,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    depth: f32,
    face: u32,
}

/// What is seen at a sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) face: usize,
    /// Shares of the face's corners in the point that is seen.
    pub(super) shares: [f32; 3],
    /// Twice the area of the face in the picture, in samples.
    pub(super) area: f32,
}

impl Raster {
    /// Draws triangles whose corners lie at `places` (column, row, depth) on a square of `side` samples. Each band of rows sees all triangles in
    /// order, so that the picture does not depend on the number of threads.
    pub(super) fn draw(side: usize, places: &[[f32; 3]], faces: &[[u32; 3]]) -> Self {
        let corners = |face: &[u32; 3]| face.map(|vertex| places[vertex as usize]);
        let spans: Vec<Range<u16>> = faces.par_iter().map(|face| span_of(corners(face), 1)).collect();
        let mut samples = vec![Sample { depth: f32::INFINITY, face: NOTHING }; side * side];
        samples.par_chunks_mut(side * BAND).enumerate().for_each(|(index, samples)| {
            let mut band = Band { first: index * BAND, side, samples };
            let end = index * BAND + band.samples.len() / side;
            for (number, span) in spans.iter().enumerate() {
                let rows = usize::from(span.start).max(band.first)..usize::from(span.end).min(end);
                if !rows.is_empty() {
                    band.draw(number as u32, corners(&faces[number]), rows);
                }
            }
        });
        Self { side, samples }
    }

    /// What is seen at a sample, if anything.
    pub(super) fn hit(
        &self,
        row: usize,
        column: usize,
        places: &[[f32; 3]],
        faces: &[[u32; 3]],
    ) -> Option<Hit> {
        let sample = self.samples[row * self.side + column];
        let face = *faces.get(sample.face as usize)?;
        let corners = face.map(|vertex| places[vertex as usize]);
        let [a, b, c] = corners;
        let area = twice_area(a, b, [c[0], c[1]]);
        let at = [column as f32 + 0.5, row as f32 + 0.5];
        // In perspective, 1 / depth is linear in the picture.
        let inverse = [twice_area(b, c, at) / a[2], twice_area(c, a, at) / b[2], twice_area(a, b, at) / c[2]];
        let sum: f32 = inverse.iter().sum();
        Some(Hit { face: sample.face as usize, shares: inverse.map(|share| share / sum), area: area.abs() })
    }
}

/// Some rows of the picture.
struct Band<'a> {
    first: usize,
    side: usize,
    samples: &'a mut [Sample],
}

impl Band<'_> {
    fn draw(&mut self, face: u32, corners: [[f32; 3]; 3], rows: Range<usize>) {
        let [a, b, c] = corners;
        let area = twice_area(a, b, [c[0], c[1]]);
        if !area.is_normal() {
            return;
        }
        let inverse = corners.map(|corner| 1.0 / corner[2]);
        let columns = span_of(corners, 0);
        let columns = usize::from(columns.start)..usize::from(columns.end).min(self.side);
        for row in rows {
            let samples = &mut self.samples[(row - self.first) * self.side..][..self.side];
            for column in columns.clone() {
                let at = [column as f32 + 0.5, row as f32 + 0.5];
                let shares = [twice_area(b, c, at), twice_area(c, a, at), twice_area(a, b, at)]
                    .map(|part| part / area);
                if shares.iter().all(|&share| share >= 0.0) {
                    let depth =
                        1.0 / (shares[0] * inverse[0] + shares[1] * inverse[1] + shares[2] * inverse[2]);
                    let sample = &mut samples[column];
                    if depth < sample.depth {
                        *sample = Sample { depth, face };
                    }
                }
            }
        }
    }
}

/// The rows (axis 1) or columns (0) of samples between the outermost corners. Samples lie at the middles of their squares.
fn span_of(corners: [[f32; 3]; 3], axis: usize) -> Range<u16> {
    let [a, b, c] = corners.map(|corner| corner[axis] - 0.5);
    // A cast keeps what is beyond the numbers of u16, or none, at the nearest of them.
    a.min(b).min(c).ceil() as u16..(a.max(b).max(c).floor() + 1.0) as u16
}

pub(super) fn twice_area(a: [f32; 3], b: [f32; 3], [x, y]: [f32; 2]) -> f32 {
    (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
}
