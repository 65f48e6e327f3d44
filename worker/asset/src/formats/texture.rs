//! Pictures inside asset files.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder as _, ImageEncoder, ImageReader, ImageResult, Limits,
    RgbImage,
};

use super::Format;
use super::check::damaged;
use crate::{Error, Result};

/// Of 100. Beyond it files grow much and pictures gain nothing that is seen.
const QUALITY: u8 = 90;
/// Longest side of a texture that is read.
const LONGEST: u32 = 8192;
/// The most that a PNG file may hold beside its pixels, unpacked, in bytes: a colour profile and comments.
const MAX_EXTRA: u64 = 8 << 20;

/// How a texture is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextureFormat {
    /// Every texel as it is.
    #[default]
    Png,
    /// Small, and read by everything.
    Jpeg,
    /// Smaller; in GLB files only, where it needs `EXT_texture_webp`.
    WebP,
}

impl TextureFormat {
    /// The extension of its files' names.
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
        }
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
        }
    }

    /// Refuses WebP where most programs could not read the file.
    pub(super) fn without_webp(self, format: Format) -> Result<Self> {
        match self {
            Self::WebP => {
                Err(Error::InvalidInput(format!("a {format} file holds png or jpeg textures, not webp")))
            }
            other => Ok(other),
        }
    }
}

impl std::str::FromStr for TextureFormat {
    type Err = &'static str;

    fn from_str(name: &str) -> std::result::Result<Self, Self::Err> {
        match name {
            "png" => Ok(Self::Png),
            "jpeg" | "jpg" => Ok(Self::Jpeg),
            "webp" => Ok(Self::WebP),
            _ => Err("there is png, jpeg, webp"),
        }
    }
}

/// The file of a texture.
pub(super) fn encode(picture: &RgbImage, format: TextureFormat) -> Result<Vec<u8>> {
    let (width, height) = picture.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::Empty("a texture without texels"));
    }
    let mut file = Cursor::new(vec![]);
    let written = match format {
        TextureFormat::Png => {
            PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive)
                .write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8)
        }
        TextureFormat::Jpeg => JpegEncoder::new_with_quality(&mut file, QUALITY).encode_image(picture),
        TextureFormat::WebP => return webp(picture),
    };
    written.map_err(|error| Error::InvalidInput(format!("the texture could not be written: {error}")))?;
    Ok(file.into_inner())
}

fn webp(picture: &RgbImage) -> Result<Vec<u8>> {
    let encoder = webp::Encoder::from_rgb(picture.as_raw(), picture.width(), picture.height());
    let file = encoder.encode_simple(false, f32::from(QUALITY)).map_err(|_| {
        Error::InvalidInput("the texture is larger than WebP can be (16383 texels a side)".to_owned())
    })?;
    Ok(file.to_vec())
}

/// The picture in a file inside an asset file of `format`. Transparency is dropped.
pub(super) fn decode(format: Format, bytes: &[u8]) -> Result<RgbImage> {
    let broken =
        |error: &dyn std::fmt::Display| damaged(format, format_args!("its texture is broken: {error}"));
    let picture = picture(bytes).map_err(|error| broken(&error))?.into_rgb8();
    if picture.is_empty() {
        return Err(broken(&"it has no texels"));
    }
    Ok(picture)
}

fn picture(bytes: &[u8]) -> ImageResult<DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST);
    limits.max_image_height = Some(LONGEST);
    limits.max_alloc = Some(MAX_EXTRA);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.max_alloc = Some(u64::from(LONGEST) * u64::from(LONGEST) * 8);
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}
