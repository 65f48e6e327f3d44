//! Weights as TRELLIS releases them: `<name>.json` holds `{"name", "args"}`, `<name>.safetensors` the tensors.
//!
//! What a file must hold is said by the model's own constructor: it takes each tensor by path and shape from a
//! [`Weights`]; what it did not find, found in another shape, or left in the file is reported all at once.

mod file;
mod mmap;
mod names;
mod scope;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind};

pub use file::TensorFile;
pub use names::Names;
pub use scope::Weights;
use source::Source;

use crate::{Error, Result};

/// Where weights go and how precise the torso (the transformer or convolution blocks) computes.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// The device that holds the weights and computes.
    pub device: Device,
    /// The kind of the torso: `Half` as released, or `Float`. All other layers are `Float`.
    pub torso: Kind,
    /// Whether tensors are read. Where not, names and shapes are checked, and the model is made of zeros that take no
    /// memory.
    pub read: bool,
}

impl Placement {
    /// Everything in f32 on `device`.
    pub fn float(device: Device) -> Self {
        Self { device, torso: Kind::Float, read: true }
    }

    /// Nothing is read: to check a checkpoint without loading it.
    pub fn unread() -> Self {
        Self { read: false, ..Self::float(Device::Cpu) }
    }
}

/// Of a released model's pair of files, which are called alike: its description and its tensors.
pub const EXTENSIONS: [&str; 2] = ["json", "safetensors"];

/// A released model file pair, not loaded yet.
#[derive(Debug)]
pub struct Checkpoint {
    config: PathBuf,
    weights: PathBuf,
    is_untrained: bool,
    description: Description,
}

/// What the configuration file says, in TRELLIS' form or in that of the library `transformers`, in which the encoders are published.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Description {
    Trellis { name: String, args: serde_json::Value },
    Transformers(Published),
}

#[derive(Debug, Deserialize)]
struct Published {
    architectures: [String; 1],
    #[serde(flatten)]
    args: serde_json::Value,
}

impl Description {
    fn class(&self) -> &str {
        match self {
            Self::Trellis { name, .. } => name.strip_prefix("Elastic").unwrap_or(name),
            Self::Transformers(Published { architectures: [name], .. }) => name,
        }
    }

    fn args(&self) -> &serde_json::Value {
        match self {
            Self::Trellis { args, .. } | Self::Transformers(Published { args, .. }) => args,
        }
    }
}

impl Checkpoint {
    /// Reads `<stem>.json`, beside which `<stem>.safetensors` lies.
    ///
    /// # Errors
    /// When the file cannot be read or is not a JSON object with `name` and `args`, or with `architectures` as `transformers` writes it.
    pub fn open(stem: &Path) -> Result<Self> {
        let [config, weights] = EXTENSIONS.map(|extension| with_extension(stem, extension));
        Self::from_files(&config, &weights)
    }

    /// The same for a pair of files with any names.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_files(config: &Path, weights: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(config).map_err(Error::io(config))?;
        let description = serde_json::from_str(&text).map_err(|error| {
            let form = "a model description has name and args, or is a config.json of transformers";
            Error::model(config, format!("not a model description ({error}); {form}"))
        })?;
        Ok(Self { config: config.to_owned(), weights: weights.to_owned(), is_untrained: false, description })
    }

    /// A model that nobody trained: its tensors are drawn at random, the same ones each time on a kind of device. It takes the
    /// time and memory of a trained one. `description` is what `<stem>.json` would hold, `name` is for messages.
    ///
    /// # Errors
    /// When it is not a JSON object with `name` and `args`.
    pub fn untrained(name: &str, description: &str) -> Result<Self> {
        let path = PathBuf::from(name);
        let description =
            serde_json::from_str(description).map_err(|error| Error::model(&path, error.to_string()))?;
        Ok(Self { config: path.clone(), weights: path, is_untrained: true, description })
    }

    /// The reference's class name, without the prefix `Elastic` (a training variant with the same weights).
    pub fn class(&self) -> &str {
        self.description.class()
    }

    /// The file that holds the tensors. Of an untrained model it is none, but the name for messages.
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
        C::deserialize(self.description.args()).map_err(|error| self.refuse(format!("args: {error}")))
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
        self.build_renamed(placement, Names::AS_STORED, build)
    }

    /// The same for a file that holds the tensors under other names.
    ///
    /// # Errors
    /// As [`Checkpoint::build`].
    pub fn build_renamed<M>(
        &self,
        placement: Placement,
        names: Names,
        build: impl FnOnce(&Weights) -> Result<M>,
    ) -> Result<M> {
        let source = match self.is_untrained {
            true => Source::Drawn { count: 0 },
            false => Source::File(TensorFile::open(&self.weights)?),
        };
        let account = scope::Account::open(&self.weights, source, placement, names);
        match build(&Weights::root(&account)) {
            // What was not taken by then is not surplus.
            Err(error @ Error::OutOfMemory(_)) => Err(error),
            model => {
                account.into_inner().close()?;
                model
            }
        }
    }
}

/// `stem.extension`; a stem may hold dots of its own.
pub(crate) fn with_extension(stem: &Path, extension: &str) -> PathBuf {
    PathBuf::from(format!("{}.{extension}", stem.display()))
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

/// Tensors that a message names of each kind; all of them would be pages.
const MOST_NAMED: usize = 10;

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
                let named: Vec<&str> = tensors.iter().take(MOST_NAMED).map(String::as_str).collect();
                let rest = if tensors.len() > MOST_NAMED { ", …" } else { "" };
                write!(f, "; {what} ({}): {}{rest}", tensors.len(), named.join(", "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for WeightsError {}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::Dtype;
    use safetensors::tensor::{TensorView, serialize};
    use tempfile::TempDir;

    use super::*;
    use crate::nn::Linear;

    /// A folder with a model `m` that holds f32 tensors of these names, shapes and values.
    fn model(tensors: &[(&str, &[usize], &[f32])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let views = tensors.iter().map(|(name, shape, values)| {
            (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(values)).unwrap())
        });
        fs::write(folder.path().join("m.safetensors"), serialize(views, None).unwrap()).unwrap();
        fs::write(folder.path().join("m.json"), r#"{"name": "ElasticThing", "args": {"width": 2}}"#).unwrap();
        folder
    }

    /// Builds two linear layers of width 2 from it.
    fn build(folder: &TempDir) -> Result<[Linear; 2]> {
        Checkpoint::open(&folder.path().join("m"))?.build(Placement::float(Device::Cpu), |weights| {
            Ok([Linear::load(&weights.at("a"), 2, 2)?, Linear::load(&weights.at("b").at(0), 2, 2)?])
        })
    }

    #[test]
    fn everything_wrong_with_a_file_is_told_at_once() {
        let folder = model(&[
            ("a.weight", &[2, 3], &[0.0; 6]),
            ("a.bias", &[2], &[f32::NAN, 0.0]),
            ("b.0.weight", &[2, 2], &[0.0; 4]),
            ("c", &[1], &[0.0]),
        ]);
        let Err(Error::Weights(error)) = build(&folder) else { panic!("expected a WeightsError") };
        assert_eq!(error.missing, ["b.0.bias"]);
        assert_eq!(error.surplus, ["c"]);
        assert_eq!(
            error.unfit,
            ["a.weight is [2, 3], expected [2, 2]", "a.bias holds numbers that are not finite"]
        );
    }

    #[test]
    fn a_truncated_file_is_refused_at_any_length() {
        let folder = model(&[
            ("a.weight", &[2, 2], &[1.0; 4]),
            ("a.bias", &[2], &[0.0; 2]),
            ("b.0.weight", &[2, 2], &[0.0; 4]),
            ("b.0.bias", &[2], &[0.0; 2]),
        ]);
        build(&folder).unwrap();
        let path = folder.path().join("m.safetensors");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(build(&folder).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn an_untrained_model_is_the_same_each_time_and_no_tensor_of_it_like_another() {
        let build = || {
            let checkpoint = Checkpoint::untrained("m", r#"{"name": "Thing", "args": {}}"#).unwrap();
            let placement = Placement { torso: Kind::Half, ..Placement::float(Device::Cpu) };
            let tensors = |weights: &Weights| {
                Ok([weights.torso().tensor("a", &[4, 64])?, weights.tensor("b", &[4, 64])?])
            };
            checkpoint.build(placement, tensors).unwrap()
        };
        let [half, float] = build();
        assert_eq!((half.kind(), float.kind()), (Kind::Half, Kind::Float));
        assert_ne!(half.to_kind(Kind::Float), float);
        assert!((float.std(true).double_value(&[]) - 0.02).abs() < 0.004);
        assert_eq!(build(), [half, float]);
    }

    #[test]
    fn a_model_of_another_class_or_with_other_arguments_is_refused_by_file_name() {
        #[derive(Debug, Deserialize)]
        struct Config {
            #[expect(dead_code, reason = "only its absence matters")]
            height: i64,
        }
        let folder = model(&[]);
        let checkpoint = Checkpoint::open(&folder.path().join("m")).unwrap();
        let other = checkpoint.config::<serde_json::Value>("Other").unwrap_err().to_string();
        assert!(other.contains("m.json: is a Thing, where a Other is needed"), "{other}");
        let lacking = checkpoint.config::<Config>("Thing").unwrap_err().to_string();
        assert!(lacking.contains("m.json: args: missing field `height`"), "{lacking}");
    }
}
