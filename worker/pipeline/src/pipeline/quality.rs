//! The presets.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// One word for time against quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// For a first look.
    Fast,
    /// What the reference does, but for its longer default of steps.
    Balanced,
    /// Where time does not matter.
    High,
}

/// What a [`Quality`] sets. Whatever a request says itself goes before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Sampling steps of each of the two stages.
    pub steps: usize,
    /// Side of a baked texture in pixels.
    pub texture_size: u32,
    /// The part of a mesh's faces that simplification takes away before the texture is baked.
    pub simplify: f64,
}

impl Quality {
    /// All of them, the quickest first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Balanced, Self::High];

    /// The table of presets. Guidance and the rest of the sampling come from the model's `pipeline.json`.
    pub fn preset(self) -> Preset {
        match self {
            Self::Fast => Preset { steps: 12, texture_size: 1024, simplify: 0.95 },
            Self::Balanced => Preset { steps: 25, texture_size: 1024, simplify: 0.95 },
            Self::High => Preset { steps: 50, texture_size: 2048, simplify: 0.9 },
        }
    }

    /// Its name in options and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::High => "high",
        }
    }
}

impl FromStr for Quality {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|quality| quality.name() == text);
        named.ok_or_else(|| {
            Error::InvalidInput(format!("unknown quality {text:?}; use fast, balanced or high"))
        })
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
