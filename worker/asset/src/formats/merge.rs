//! Corners that are equal become one vertex.

use std::collections::HashMap;

/// Numbers equal positions alike, by their first appearance.
#[derive(Default)]
pub(super) struct Merge {
    places: HashMap<[u32; 3], u32>,
    pub(super) vertices: Vec<[f32; 3]>,
}

impl Merge {
    /// The number of a position.
    pub(super) fn place(&mut self, position: [f32; 3]) -> u32 {
        // Zero has two signs, which are one place.
        let position = position.map(|value| value + 0.0);
        *self.places.entry(position.map(f32::to_bits)).or_insert_with(|| {
            self.vertices.push(position);
            (self.vertices.len() - 1) as u32
        })
    }
}
