//! Weights as TRELLIS releases them: `<name>.json` holds `{"name", "args"}`, `<name>.safetensors` the tensors.
//!
//! What a file must hold is said by the model's own constructor: it takes each tensor by path and shape from a
//! [`Weights`]; what it did not find, found in another shape, or left in the file is reported all at once.

mod file;
mod mmap;
mod scope;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind};

pub use file::TensorFile;
pub use scope::Weights;

use crate::{Error, Result};

/// Where weights go and how precise the torso (the transformer or convolution blocks) computes.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// The device that holds the weights and computes.
    pub device: Device,
    /// The kind of the torso: `Half` as released, or `Float`. All other layers are `Float`.
    pub torso: Kind,
}

impl Placement {
    /// Everything in f32 on `device`.
    pub fn float(device: Device) -> Self {
        Self { device, torso: Kind::Float }
    }
}

/// A released model file pair, not loaded yet.
#[derive(Debug)]
pub struct Checkpoint {
    config: PathBuf,
    weights: PathBuf,
    description: Description,
}

#[derive(Debug, Deserialize)]
struct Description {
    name: String,
    args: serde_json::Value,
}

impl Checkpoint {
    /// Reads `<stem>.json`, beside which `<stem>.safetensors` lies.
    ///
    /// # Errors
    /// When the file cannot be read or is not a JSON object with `name` and `args`.
    pub fn open(stem: &Path) -> Result<Self> {
        let with = |extension: &str| PathBuf::from(format!("{}.{extension}", stem.display()));
        Self::from_files(&with("json"), &with("safetensors"))
    }

    /// The same for a pair of files with any names.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_files(config: &Path, weights: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(config).map_err(Error::io(config))?;
        let description = serde_json::from_str(&text)
            .map_err(|error| Error::model(config, format!("not a model description: {error}")))?;
        Ok(Self { config: config.to_owned(), weights: weights.to_owned(), description })
    }

    /// The reference's class name, without the prefix `Elastic` (a training variant with the same weights).
    pub fn class(&self) -> &str {
        self.description.name.strip_prefix("Elastic").unwrap_or(&self.description.name)
    }

    /// The file that holds the tensors.
    pub fn weights_path(&self) -> &Path {
        &self.weights
    }

    /// The constructor arguments as a typed configuration, if the checkpoint is one of class `class`.
    ///
    /// # Errors
    /// When it is a model of another class or its arguments are not those of `C`.
    pub fn config<C: DeserializeOwned>(&self, class: &str) -> Result<C> {
        if self.class() != class {
            return Err(self.refuse(format!("is a {}, where a {class} is needed", self.class())));
        }
        C::deserialize(&self.description.args).map_err(|error| self.refuse(format!("args: {error}")))
    }

    /// An error about this checkpoint's configuration.
    pub fn refuse(&self, message: impl Into<String>) -> Error {
        Error::model(&self.config, message)
    }

    /// Builds a model from the tensors of this checkpoint. `build` takes all of them from the [`Weights`] it is given.
    ///
    /// # Errors
    /// One [`WeightsError`] that names every tensor missing, surplus, of another shape or not finite.
    pub fn build<M>(&self, placement: Placement, build: impl FnOnce(&Weights) -> Result<M>) -> Result<M> {
        let file = TensorFile::open(&self.weights)?;
        let account = scope::Account::open(file, placement);
        let model = build(&Weights::root(&account))?;
        account.into_inner().close()?;
        Ok(model)
    }
}

/// Everything that is wrong with a file's tensors.
#[derive(Debug, Default)]
pub struct WeightsError {
    /// The file.
    pub path: PathBuf,
    /// Tensors that the configuration asks for and the file lacks.
    pub missing: Vec<String>,
    /// Tensors that the file holds and the configuration has no place for.
    pub surplus: Vec<String>,
    /// Tensors with a shape or element type that does not fit, and how.
    pub unfit: Vec<String>,
}

impl WeightsError {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty() && self.unfit.is_empty()
    }
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the tensors do not fit the model's configuration", self.path.display())?;
        for (what, tensors) in
            [("missing", &self.missing), ("surplus", &self.surplus), ("unfit", &self.unfit)]
        {
            if !tensors.is_empty() {
                write!(f, "; {what} ({}): {}", tensors.len(), tensors.join(", "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for WeightsError {}
