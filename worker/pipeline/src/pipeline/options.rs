//! What a request may ask for, and what of it is asked for when it says nothing.

use super::Quality;
use crate::sampler::{MultiImage, Sampling};
use crate::{Error, Result};

/// Most steps that a stage may take: beyond it only time is spent.
const MAX_STEPS: usize = 1000;
const MAX_STRENGTH: f64 = 100.0;
/// Most samples of a request.
const MAX_SAMPLES: usize = 4;

/// A stage's sampling, where it is to differ from the preset and the model's own.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StageOptions {
    /// Euler steps, 1 to 1000.
    pub steps: Option<usize>,
    /// Strength of the classifier-free guidance, 0 to 100.
    pub cfg_strength: Option<f64>,
}

/// Into what structured latents are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outputs {
    /// A mesh with a colour at each vertex.
    pub mesh: bool,
    /// Gaussian splats.
    pub gaussians: bool,
    /// A radiance field.
    pub radiance_field: bool,
}

impl Default for Outputs {
    fn default() -> Self {
        Self { mesh: true, gaussians: false, radiance_field: false }
    }
}

/// How a request is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Seed of the noise. The same seed gives the same assets, byte for byte, on the same kind of device.
    pub seed: u64,
    /// How many assets are made of the one input, 1 to 4. Their noise is drawn together, as the reference draws it: the first
    /// of several differs from a single one of the same seed.
    pub samples: usize,
    /// The steps of both stages; the model's own where left out.
    pub quality: Option<Quality>,
    /// The first stage: which voxels are active.
    pub sparse_structure: StageOptions,
    /// The second stage: what is in them.
    pub structured_latent: StageOptions,
    /// How several images of one object are combined.
    pub multi_image: MultiImage,
    /// What is made.
    pub outputs: Outputs,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            samples: 1,
            quality: None,
            sparse_structure: StageOptions::default(),
            structured_latent: StageOptions::default(),
            multi_image: MultiImage::default(),
            outputs: Outputs::default(),
        }
    }
}

impl Options {
    /// Refuses what no model can make.
    ///
    /// # Errors
    /// [`Error::InvalidInput`].
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=MAX_SAMPLES).contains(&self.samples) {
            return Err(Error::InvalidInput(format!("{} samples: use 1 to {MAX_SAMPLES}", self.samples)));
        }
        let Outputs { mesh, gaussians, radiance_field } = self.outputs;
        if mesh || gaussians || radiance_field {
            return Ok(());
        }
        Err(Error::InvalidInput(
            "nothing is to be made; ask for a mesh, Gaussians or a radiance field".into(),
        ))
    }

    /// A stage's sampling: the model's own, under the preset, under what the request says.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a number out of range.
    pub(super) fn resolve(&self, stage: StageOptions, model: Sampling) -> Result<Sampling> {
        let preset = self.quality.map(|quality| quality.preset().steps);
        let steps = stage.steps.or(preset).unwrap_or(model.steps);
        let cfg_strength = stage.cfg_strength.unwrap_or(model.cfg_strength);
        if !(1..=MAX_STEPS).contains(&steps) {
            return Err(Error::InvalidInput(format!("{steps} sampling steps: use 1 to {MAX_STEPS}")));
        }
        if !(0.0..=MAX_STRENGTH).contains(&cfg_strength) {
            return Err(Error::InvalidInput(format!(
                "guidance strength {cfg_strength}: use 0 to {MAX_STRENGTH}"
            )));
        }
        Ok(Sampling { steps, cfg_strength, ..model })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Sampling {
        Sampling { steps: 6, cfg_strength: 7.5, cfg_interval: (0.5, 1.0), rescale_t: 3.0 }
    }

    #[test]
    fn what_a_request_says_wins_over_its_preset_and_that_over_the_model() {
        let resolve = |quality, steps| {
            let options = Options { quality, ..Options::default() };
            options.resolve(StageOptions { steps, cfg_strength: None }, model()).unwrap()
        };
        assert_eq!(resolve(None, None), model());
        for (quality, steps) in [(Quality::Fast, 12), (Quality::Balanced, 25), (Quality::High, 50)] {
            assert_eq!(resolve(Some(quality), None), Sampling { steps, ..model() });
        }
        assert_eq!(resolve(Some(Quality::High), Some(3)).steps, 3);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (steps, cfg_strength) in [
            (Some(0), None),
            (Some(1001), None),
            (None, Some(-0.1)),
            (None, Some(f64::NAN)),
            (None, Some(f64::INFINITY)),
        ] {
            let result = Options::default().resolve(StageOptions { steps, cfg_strength }, model());
            assert!(matches!(result, Err(Error::InvalidInput(_))), "{steps:?} {cfg_strength:?}");
        }
    }
}
