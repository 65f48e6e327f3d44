//! The bodies of `POST /api/v1/generate/…`, and what they ask for.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use trellis_crds::InputKind;
use utoipa::ToSchema;

use super::RequestError;
use super::body::pointer;
use super::options::{
    Deadlines, Format, HasOptions as _, Mesh, Options, Quality, Sampling, Webhook, WhenFailing, body,
    with_options,
};
use crate::files::{self, Fault, FileError, FileKind};

/// The most images of one object.
const MAX_IMAGES: usize = 8;

/// The longest address of a file.
const MAX_URL: usize = 2048;

/// A request for an asset, whatever way it came. Its files are not looked at yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Generate {
    /// What the asset is made from.
    pub input: Input,
    /// How, and into which files.
    pub options: Options,
}

/// What the asset is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// One image of an object, or several.
    Images(Vec<File>, MultiImageMode),
    /// A description in words.
    Text(String),
    /// A mesh, and in words what its surface is to be.
    Variant(File, String),
}

impl Input {
    /// Which kind of input this is, by which a pool is found.
    #[must_use]
    pub(crate) fn kind(&self) -> InputKind {
        match self {
            Self::Images(..) => InputKind::Image,
            Self::Text(_) => InputKind::Text,
            Self::Variant(..) => InputKind::Variant,
        }
    }

    /// The files, and of which kind they must be.
    #[must_use]
    pub(crate) fn files(&self) -> (FileKind, &[File]) {
        match self {
            Self::Images(files, _) => (FileKind::Image, files),
            Self::Text(_) => (FileKind::Image, &[]),
            Self::Variant(file, _) => (FileKind::Mesh, std::slice::from_ref(file)),
        }
    }
}

/// A file of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Where the request has it, as a JSON pointer; for a form, into the object of its fields.
    pub pointer: String,
    /// The file itself.
    pub source: FileSource,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileSource {
    /// It is to be fetched from a public `https://` address.
    Url(String),
    /// It came with the request.
    Bytes(Bytes),
}

/// A body, as its endpoint takes it.
pub(crate) trait Body: DeserializeOwned + Send {
    /// The field of a form that holds files; `None` where no form is taken.
    const FILE_FIELD: Option<&'static str>;

    /// What it asks for. `files` came in the form, and all files together may have `limit` bytes.
    fn generate(self, files: Vec<Bytes>, limit: usize) -> Result<Generate, RequestError>;
}

with_options! { body! {
    /// An asset from one image, or from 2 to 8 images of the same object from different sides. Exactly one of `image_url`, `image_urls`,
    /// `image_base64` and `images_base64`.
    #[schema(example = json!({"image_url": "https://example.com/cup.png", "output_formats": ["glb"], "quality": "balanced", "seed": 42}))]
    ImageTo3d {
        /// A public `https://` address of a PNG, JPEG or WebP image. The service fetches it before it answers.
        #[schema(format = "uri", pattern = "^https://", max_length = 2048)]
        pub image_url: Option<String>,
        /// Several of them.
        #[schema(value_type = Option<Vec<PublicUrl>>, min_items = 1, max_items = 8)]
        pub image_urls: Option<Vec<String>>,
        /// The file itself in base64, alone or as a `data:` URI.
        #[schema(value_type = Option<Base64>)]
        pub image_base64: Option<String>,
        /// Several of them.
        #[schema(value_type = Option<Vec<Base64>>, min_items = 1, max_items = 8)]
        pub images_base64: Option<Vec<String>>,
        /// How several images share the sampling steps (default `stochastic`). Of no effect with one image.
        pub multi_image_mode: Option<MultiImageMode>,
    }
} }

with_options! { body! {
    /// An asset from a description. Needs a pool whose model takes text.
    #[schema(example = json!({"prompt": "a wooden treasure chest with iron bands", "output_formats": ["glb"]}))]
    TextTo3d {
        /// The object in words, English; the model reads about the first 50 words.
        #[schema(min_length = 1, max_length = 1000, example = "a wooden treasure chest with iron bands")]
        pub prompt: String,
    }
} }

with_options! { body! {
    /// A new surface for the shape of a mesh. Exactly one of `mesh_url` and `mesh_base64`. Needs a pool whose model takes text.
    #[schema(example = json!({"prompt": "rusty iron", "mesh_url": "https://example.com/cup.glb", "output_formats": ["glb"]}))]
    Variant {
        /// The new surface in words, English; the model reads about the first 50 words.
        #[schema(min_length = 1, max_length = 1000, example = "rusty iron")]
        pub prompt: String,
        /// A public `https://` address of a GLB, OBJ, PLY or STL file. The service fetches it before it answers.
        #[schema(format = "uri", pattern = "^https://", max_length = 2048)]
        pub mesh_url: Option<String>,
        /// The file itself in base64, alone or as a `data:` URI.
        #[schema(value_type = Option<Base64>)]
        pub mesh_base64: Option<String>,
    }
} }

/// A public `https://` address of a PNG, JPEG or WebP image.
#[derive(ToSchema)]
#[schema(value_type = String, format = "uri", pattern = "^https://", max_length = 2048)]
#[expect(dead_code, reason = "for the description alone")]
pub(crate) struct PublicUrl(String);

/// A file in base64, alone or as a `data:` URI.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^\\s*(data:[^,]*;base64,)?[A-Za-z0-9+/_=-]+\\s*$", example = "data:image/png;base64,iVBORw0KGgo=")]
#[expect(dead_code, reason = "for the description alone")]
pub(crate) struct Base64(String);

/// How several images share the sampling steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MultiImageMode {
    /// One image a step, in turn: as fast as one image.
    #[default]
    Stochastic,
    /// All images in every step: steadier, and slower by their number.
    Multidiffusion,
}

impl Body for ImageTo3d {
    const FILE_FIELD: Option<&'static str> = Some("image");

    fn generate(mut self, files: Vec<Bytes>, limit: usize) -> Result<Generate, RequestError> {
        let options = self.options();
        let mut reader = Reader { kind: FileKind::Image, limit, left: limit };
        let ways = [
            self.image_url.map(|url| reader.one("image_url", url, Reader::url)),
            self.image_urls.map(|urls| reader.several("image_urls", urls, Reader::url)),
            self.image_base64.map(|text| reader.one("image_base64", text, Reader::base64)),
            self.images_base64.map(|texts| reader.several("images_base64", texts, Reader::base64)),
            (!files.is_empty()).then(|| reader.uploads("image", files)),
        ];
        let [images] = given(ways).map_err(|_| {
            RequestError::field(
                &[],
                "Send the images in exactly one way: `image_url`, `image_urls`, `image_base64` or `images_base64`, or the file field `image` of a form.",
            )
        })?;
        let input = Input::Images(images?, self.multi_image_mode.unwrap_or_default());
        Ok(Generate { input, options })
    }
}

impl Body for TextTo3d {
    const FILE_FIELD: Option<&'static str> = None;

    fn generate(mut self, _: Vec<Bytes>, _: usize) -> Result<Generate, RequestError> {
        let options = self.options();
        Ok(Generate { input: Input::Text(self.prompt), options })
    }
}

impl Body for Variant {
    const FILE_FIELD: Option<&'static str> = Some("mesh");

    fn generate(mut self, files: Vec<Bytes>, limit: usize) -> Result<Generate, RequestError> {
        let options = self.options();
        let mut reader = Reader { kind: FileKind::Mesh, limit, left: limit };
        let ways = [
            self.mesh_url.map(|url| reader.one("mesh_url", url, Reader::url)),
            self.mesh_base64.map(|text| reader.one("mesh_base64", text, Reader::base64)),
            (!files.is_empty()).then(|| reader.uploads("mesh", files)),
        ];
        let one = "Send exactly one mesh: `mesh_url` or `mesh_base64`, or the file field `mesh` of a form.";
        let [meshes] = given(ways).map_err(|_| RequestError::field(&[], one))?;
        let [mesh] = meshes?.try_into().map_err(|_| RequestError::field(&["mesh"], one))?;
        Ok(Generate { input: Input::Variant(mesh, self.prompt), options })
    }
}

/// The ways in which files were sent.
fn given<T, const N: usize, const M: usize>(ways: [Option<T>; N]) -> Result<[T; M], Vec<T>> {
    ways.into_iter().flatten().collect::<Vec<_>>().try_into()
}

/// Makes files of fields, as long as all together stay within a limit.
struct Reader {
    kind: FileKind,
    limit: usize,
    left: usize,
}

type Files = Result<Vec<File>, RequestError>;
type Read<T> = fn(&mut Reader, &str, T) -> Result<FileSource, RequestError>;

impl Reader {
    fn one<T>(&mut self, field: &str, value: T, read: Read<T>) -> Files {
        let pointer = pointer(&[field]);
        let source = read(self, &pointer, value)?;
        Ok(vec![File { pointer, source }])
    }

    fn several<T>(&mut self, field: &str, values: Vec<T>, read: Read<T>) -> Files {
        if !(1..=MAX_IMAGES).contains(&values.len()) {
            let detail = format!("{field}: must have 1 to {MAX_IMAGES} images, and has {}", values.len());
            return Err(RequestError::field(&[field], detail));
        }
        let values = values.into_iter().enumerate();
        values
            .map(|(index, value)| {
                let pointer = pointer(&[field, &index.to_string()]);
                let source = read(self, &pointer, value)?;
                Ok(File { pointer, source })
            })
            .collect()
    }

    /// The files of a form's field: of one alone the field's name says enough.
    fn uploads(&mut self, field: &str, mut files: Vec<Bytes>) -> Files {
        match files.pop() {
            Some(file) if files.is_empty() => self.one(field, file, Self::upload),
            Some(file) => {
                files.push(file);
                self.several(field, files, Self::upload)
            }
            None => Ok(Vec::new()),
        }
    }

    fn url(&mut self, pointer: &str, url: String) -> Result<FileSource, RequestError> {
        match url.chars().count() {
            0..=MAX_URL => Ok(FileSource::Url(url)),
            _ => Err(RequestError::at(pointer, format!("an address must have at most {MAX_URL} characters"))),
        }
    }

    fn base64(&mut self, pointer: &str, text: String) -> Result<FileSource, RequestError> {
        let bytes = files::from_base64(&text, self.left).map_err(|fault| self.refused(pointer, fault))?;
        self.upload(pointer, bytes)
    }

    fn upload(&mut self, pointer: &str, bytes: Bytes) -> Result<FileSource, RequestError> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or_else(|| self.refused(pointer, Fault::TooLarge { limit: self.limit }))?;
        Ok(FileSource::Bytes(bytes))
    }

    fn refused(&self, pointer: &str, fault: Fault) -> RequestError {
        let fault = match fault {
            // What was left is of no interest.
            Fault::TooLarge { .. } => Fault::TooLarge { limit: self.limit },
            other => other,
        };
        FileError { pointer: pointer.to_owned(), kind: self.kind, fault }.into()
    }
}
