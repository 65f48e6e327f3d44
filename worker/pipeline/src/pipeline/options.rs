//! What a request may ask for, and what of it is asked for when it says nothing.

use std::fmt;
use std::str::FromStr;

use crate::sampler::{MultiImage, Sampling};
use crate::{Error, Result};

/// Most steps that a stage may take: beyond it only time is spent.
const MAX_STEPS: usize = 1000;
const MAX_STRENGTH: f64 = 100.0;

/// One number for time against quality: the steps of both stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// 12 steps each.
    Fast,
    /// 25 steps each.
    Balanced,
    /// 50 steps each.
    High,
}

impl Quality {
    /// Steps of each stage.
    pub fn steps(self) -> usize {
        match self {
            Self::Fast => 12,
            Self::Balanced => 25,
            Self::High => 50,
        }
    }
}

impl FromStr for Quality {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fast" => Ok(Self::Fast),
            "balanced" => Ok(Self::Balanced),
            "high" => Ok(Self::High),
            _ => Err(Error::InvalidInput(format!("unknown quality {text:?}; use fast, balanced or high"))),
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::High => "high",
        })
    }
}

/// A stage's sampling, where it is to differ from the preset and the model's own.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StageOptions {
    /// Euler steps, 1 to 1000.
    pub steps: Option<usize>,
    /// Strength of the classifier-free guidance, 0 to 100.
    pub cfg_strength: Option<f64>,
}

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Seed of the noise. The same seed gives the same asset, byte for byte, on the same kind of device.
    pub seed: u64,
    /// The steps of both stages; the model's own where left out.
    pub quality: Option<Quality>,
    /// The first stage: which voxels are active.
    pub sparse_structure: StageOptions,
    /// The second stage: what is in them.
    pub structured_latent: StageOptions,
    /// How several images of one object are combined.
    pub multi_image: MultiImage,
}

impl Options {
    /// A stage's sampling: the model's own, under the preset, under what the request says.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a number out of range.
    pub(super) fn resolve(&self, stage: StageOptions, model: Sampling) -> Result<Sampling> {
        let preset = self.quality.map(Quality::steps);
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
