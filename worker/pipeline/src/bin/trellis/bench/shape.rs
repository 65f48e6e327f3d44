//! The sizes of a model's networks, and the object they are timed on.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use trellis::sampler::Sampling;
use trellis::weights::Checkpoint;
use trellis::{Error, Result};

use super::table::Reference;

/// Sizes that this program knows.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum ShapeName {
    /// TRELLIS-image-large.
    ImageLarge,
}

impl ShapeName {
    pub(super) fn shape(self) -> Result<Shape> {
        match self {
            Self::ImageLarge => Shape::parse(include_str!("image-large.json")),
        }
    }
}

/// The sizes of a model's networks, and what is measured with them.
#[derive(Debug, Deserialize)]
pub(super) struct Shape {
    /// What each stage takes in the reference implementation, where that was measured.
    pub(super) reference: BTreeMap<String, Reference>,
    /// Side of the encoder's image in pixels.
    pub(super) image_side: i64,
    pub(super) sparse_structure_guidance: f64,
    pub(super) latent_guidance: f64,
    pub(super) sphere: Sphere,
    /// Steps of both samplers, each number by itself.
    pub(super) steps: Vec<usize>,
    models: BTreeMap<String, Value>,
}

/// An object: the voxels of a 64³ grid near a sphere around its centre.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Sphere {
    /// In sides of the grid.
    pub(super) radius: f64,
    /// The thickness, in voxels, of the shell that voxels' centres lie in.
    cells: f64,
}

impl Shape {
    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::InvalidInput(format!("no shape: {error}")))
    }

    /// A network of these sizes.
    pub(super) fn model(&self, name: &str) -> Result<Checkpoint> {
        let description = self.models.get(name).map(Value::to_string);
        Checkpoint::untrained(name, &description.unwrap_or_default())
    }

    /// How the published models sample, but for guidance and steps.
    pub(super) fn sampling(steps: usize, cfg_strength: f64) -> Sampling {
        Sampling { steps, cfg_strength, cfg_interval: (0.5, 1.0), rescale_t: 3.0 }
    }
}

impl Sphere {
    /// A sphere with a radius so many times as large.
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self { radius: factor * self.radius, ..self }
    }

    /// Sample 0 and the place of each voxel, flat.
    pub(super) fn voxels(self) -> Vec<i32> {
        const SIDE: i32 = 64;
        let centre = |place: i32| (f64::from(place) + 0.5) / f64::from(SIDE) - 0.5;
        let is_near = |place: &[i32; 3]| {
            let distance = place.iter().map(|&at| centre(at).powi(2)).sum::<f64>().sqrt();
            (distance - self.radius).abs() < 0.5 / f64::from(SIDE) * self.cells
        };
        (0..SIDE.pow(3))
            .map(|index| [index / SIDE.pow(2), index / SIDE % SIDE, index % SIDE])
            .filter(is_near)
            .flat_map(|[x, y, z]| [0, x, y, z])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_object_is_the_one_that_the_reference_was_measured_on() {
        let voxels = ShapeName::ImageLarge.shape().unwrap().sphere.voxels();
        let tokens: BTreeSet<_> =
            voxels.chunks(4).map(|voxel| [voxel[1] / 2, voxel[2] / 2, voxel[3] / 2]).collect();
        assert_eq!((voxels.len() / 4, tokens.len()), (19_904, 4_088));
    }
}
