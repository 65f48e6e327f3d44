//! Removing the background of a photo that has no transparency, by one of the networks that the rembg project publishes
//! (<https://github.com/danielgatis/rembg>), as an optional file in the model folder.
//!
//! The reference removes backgrounds by rembg's u2net; what comes out here is the same within 1/255.

mod cut_out;
mod family;
mod network;
mod runtime;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use image::RgbaImage;

pub use cut_out::shrink;
use family::{BIREFNET, Family, ISNET, U2NET};
use network::Network;

use crate::{Error, Result};

/// The networks that are known by the names that rembg keeps them under; where a folder has several, the first of them is used.
const NETWORKS: [(&str, Family); 9] = [
    ("u2net.onnx", U2NET),
    ("isnet-general-use.onnx", ISNET),
    ("birefnet-general.onnx", BIREFNET),
    ("birefnet-general-lite.onnx", BIREFNET),
    ("birefnet-portrait.onnx", BIREFNET),
    ("birefnet-dis.onnx", BIREFNET),
    ("birefnet-hrsod.onnx", BIREFNET),
    ("birefnet-cod.onnx", BIREFNET),
    ("birefnet-massive.onnx", BIREFNET),
];

/// The file names of the networks that can remove a background, the first choice first.
pub fn network_files() -> impl Iterator<Item = &'static str> {
    NETWORKS.into_iter().map(|(name, _)| name)
}

/// Removes backgrounds with the network of a model folder, which is loaded when it is first needed. It computes on the CPU.
pub struct BackgroundRemover {
    folder: PathBuf,
    network: Mutex<Option<Network>>,
}

impl BackgroundRemover {
    /// With the network that lies in `folder`, if one does.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), network: Mutex::new(None) }
    }

    /// The image itself where any of it is transparent. Otherwise the object on it, on transparent black, its longer side
    /// at most 1024 pixels; colours at its edge are mixed with black, as rembg's are.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the folder has no network or the network finds no object; [`Error::Model`] when the
    /// network or the ONNX Runtime cannot be used.
    pub fn remove<'a>(&self, image: &'a RgbaImage) -> Result<Cow<'a, RgbaImage>> {
        if image.pixels().any(|pixel| pixel[3] < 255) {
            return Ok(Cow::Borrowed(image));
        }
        // A panic of an earlier run leaves the network as it was: running does not change it.
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match &mut *network {
            Some(loaded) => loaded,
            empty => empty.insert(self.load()?),
        };
        let photo = cut_out::shrink(image);
        let mask = loaded.mask(&photo)?;
        Ok(Cow::Owned(cut_out::cut_out(&photo, &mask)))
    }

    fn load(&self) -> Result<Network> {
        let there = NETWORKS.into_iter().map(|(name, family)| (self.folder.join(name), family));
        let (file, family) = there.into_iter().find(|(file, _)| file.exists()).ok_or_else(|| {
            Error::InvalidInput(
                "the image has no transparency, and the model folder has no u2net.onnx (nor isnet-general-use.onnx or \
                 birefnet-general.onnx) to remove its background with; add that file, or send an image with \
                 transparency"
                    .into(),
            )
        })?;
        Network::load(&file, family, &self.folder)
    }
}

impl fmt::Debug for BackgroundRemover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundRemover").field("folder", &self.folder).finish_non_exhaustive()
    }
}
