//! A network in the ONNX format.

use std::path::{Path, PathBuf};
use std::thread;

use image::RgbaImage;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::Tensor;

use super::family::Family;
use super::{cut_out, runtime};
use crate::{Error, Result};

/// A network that is loaded.
pub(super) struct Network {
    file: PathBuf,
    family: Family,
    session: Session,
}

/// The first channel of a network's first output.
struct Output {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Network {
    /// Reads the file. `folder` may hold the ONNX Runtime.
    pub(super) fn load(file: &Path, family: Family, folder: &Path) -> Result<Self> {
        let environment = runtime::environment(file, folder)?;
        let session = open(&environment, file).map_err(|error| {
            Error::model(
                file,
                format!("not an ONNX network that can be run ({}); download it again", first_line(&error)),
            )
        })?;
        Ok(Self { file: file.to_owned(), family, session })
    }

    /// How much each pixel of the photo belongs to an object: 0 not at all, 255 wholly.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when nothing stands out.
    pub(super) fn mask(&mut self, photo: &RgbaImage) -> Result<Vec<u8>> {
        let output = self.run(photo).map_err(|error| {
            let reason = first_line(&error);
            Error::model(
                &self.file,
                format!("is not the network that its name says ({reason}); download it again"),
            )
        })?;
        let mask = self.family.mask(&output.values).ok_or_else(|| {
            Error::InvalidInput(
                "no object stands out from the image's background; send an image with transparency, or one that \
                 shows the object clearly"
                    .into(),
            )
        })?;
        Ok(cut_out::fit(&mask, (output.width, output.height), photo.dimensions()))
    }

    fn run(&mut self, photo: &RgbaImage) -> ort::Result<Output> {
        let side = self.family.side;
        let input = Tensor::from_array(([1, 3, side, side], self.family.input(photo)))?;
        let outputs = self.session.run(ort::inputs![input])?;
        let first = outputs.values().next().ok_or_else(|| ort::Error::new("it has no output"))?;
        let (shape, values) = first.try_extract_tensor::<f32>()?;
        let size = |length: i64| usize::try_from(length).ok().filter(|&length| length > 0);
        let [Some(1), Some(_), Some(height), Some(width)] =
            *shape.iter().map(|&length| size(length)).collect::<Vec<_>>()
        else {
            return Err(ort::Error::new(format!("its output has the shape {shape:?}")));
        };
        Ok(Output { width, height, values: values.iter().copied().take(width * height).collect() })
    }
}

fn open(environment: &Environment, file: &Path) -> ort::Result<Session> {
    // The cores that this process may use: ONNX Runtime itself would count those of the whole machine.
    let threads = thread::available_parallelism().map_or(1, usize::from);
    Session::builder(environment)?
        .with_intra_threads(threads)?
        .with_config_entry("session.intra_op.allow_spinning", "0")?
        .with_deterministic_compute(true)?
        .commit_from_file(file)
}

fn first_line(error: &ort::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
