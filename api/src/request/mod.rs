//! What clients ask for: the bodies of `POST /api/v1/generate/…`, as types, and the extractors that read them.

mod body;
mod idempotency;
mod place;
mod query;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::images::{self, ImageError};
use crate::problem::{FieldError, Problem};

pub(crate) use body::pointer;
pub(crate) use idempotency::IdempotencyKey;
pub(crate) use place::{PLACES, Place};
pub(crate) use query::Query;

/// A request for an asset, whatever way it came. Its image is not looked at yet.
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
    /// An image to be fetched from a public `https://` address.
    ImageUrl(String),
    /// An image file that came with the request.
    ImageFile(Bytes),
    /// A description in words.
    Text(String),
}

/// How an asset is made, and into which files.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Options {
    /// Files to make; empty: the default.
    pub output_formats: Vec<Format>,
    /// Preset for what `sampling` and `mesh` leave out.
    pub quality: Option<Quality>,
    /// Seed of the noise.
    pub seed: Option<i64>,
    /// The worker pool by name.
    pub pool: Option<String>,
    /// How the model samples.
    pub sampling: Sampling,
    /// How the mesh is finished.
    pub mesh: Mesh,
}

/// An asset from an image. Exactly one of `image_url` and `image_base64`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"image_url": "https://example.com/cup.png", "output_formats": ["glb"], "quality": "balanced", "seed": 42}))]
pub(crate) struct ImageTo3d {
    /// A public `https://` address of a PNG, JPEG or WebP image. The service fetches it before it answers.
    pub image_url: Option<String>,
    /// The file itself in base64, alone or as a `data:` URI.
    pub image_base64: Option<String>,
    /// Files to make, each at most once (default `["glb"]`).
    #[serde(default)]
    pub output_formats: Vec<Format>,
    /// Preset for what `sampling` and `mesh` leave out (default `balanced`).
    pub quality: Option<Quality>,
    /// Seed of the noise; the same seed and request give the same files. Drawn at random where left out.
    #[schema(minimum = 0, maximum = 4294967295_i64)]
    pub seed: Option<i64>,
    /// A worker pool by name. Any that takes images where left out.
    pub pool: Option<String>,
    /// How the model samples.
    #[serde(default)]
    pub sampling: Sampling,
    /// How the mesh is finished.
    #[serde(default)]
    pub mesh: Mesh,
}

/// An asset from a description. Needs a pool whose model takes text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"prompt": "a wooden treasure chest with iron bands", "output_formats": ["glb"]}))]
pub(crate) struct TextTo3d {
    /// The object in words, English; the model reads about the first 50 words.
    #[schema(min_length = 1, max_length = 1000)]
    pub prompt: String,
    /// Files to make, each at most once (default `["glb"]`).
    #[serde(default)]
    pub output_formats: Vec<Format>,
    /// Preset for what `sampling` and `mesh` leave out (default `balanced`).
    pub quality: Option<Quality>,
    /// Seed of the noise; the same seed and request give the same files. Drawn at random where left out.
    #[schema(minimum = 0, maximum = 4294967295_i64)]
    pub seed: Option<i64>,
    /// A worker pool by name. Any that takes text where left out.
    pub pool: Option<String>,
    /// How the model samples.
    #[serde(default)]
    pub sampling: Sampling,
    /// How the mesh is finished.
    #[serde(default)]
    pub mesh: Mesh,
}

/// A file format of an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Binary glTF: mesh and texture.
    Glb,
    /// Wavefront OBJ with its material and texture, zipped.
    Obj,
    /// 3D Gaussians.
    Ply,
    /// Mesh without colours.
    Stl,
    /// Universal Scene Description, packed.
    Usdz,
}

/// A preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Quality {
    /// 12 steps, texture of 1024 pixels.
    Fast,
    /// 25 steps, texture of 1024 pixels.
    Balanced,
    /// 50 steps, texture of 2048 pixels.
    High,
}

/// How the model samples, in its two stages.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sampling {
    /// The first stage: the coarse shape.
    pub sparse_structure: Option<Stage>,
    /// The second stage: fine shape and surface.
    pub structured_latent: Option<Stage>,
}

/// How one stage samples.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    /// Sampling steps; by `quality` where left out.
    #[schema(minimum = 1, maximum = 200)]
    pub steps: Option<i32>,
    /// Strength of the guidance: how closely the asset follows the input.
    #[schema(minimum = 0, maximum = 20)]
    pub cfg_strength: Option<f64>,
}

/// How the mesh is finished.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mesh {
    /// The part of the triangles to remove (default 0.95).
    #[schema(minimum = 0, maximum = 0.99)]
    pub simplify: Option<f64>,
    /// The texture's edge in pixels: 512, 1024, 2048 or 4096; by `quality` where left out.
    pub texture_size: Option<i32>,
}

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The `Content-Type` is none of those taken.
    #[error("Send the body as {0}.")]
    MediaType(&'static str),
    /// The body is larger than the limit.
    #[error("The body is larger than this service takes.")]
    TooLarge,
    /// The body is no JSON, or no form.
    #[error("The body cannot be parsed: {0}")]
    Malformed(String),
    /// A field is unknown, missing or of the wrong type.
    #[error("{}", .0.detail)]
    Field(FieldError),
    /// The image is no base64.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A query parameter or a header is wrong.
    #[error("{0}")]
    Parameter(String),
}

impl RequestError {
    fn field(path: &[&str], detail: impl Into<String>) -> Self {
        Self::Field(FieldError { pointer: pointer(path), detail: detail.into() })
    }
}

/// The body of `POST /api/v1/generate/image-to-3d`: JSON, or a form with the file field `image`.
#[derive(Debug)]
pub(crate) struct ImageRequest(pub Generate);

impl FromRequest<App> for ImageRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (file, body): (_, ImageTo3d) = match body::media_type(&request).as_deref() {
            Some("application/json") => (None, body::json(request).await?),
            Some("multipart/form-data") => body::multipart(request).await?,
            _ => return Err(RequestError::MediaType("application/json or multipart/form-data").into()),
        };
        Ok(Self(body.generate(file, app.settings.max_image_bytes)?))
    }
}

impl ImageTo3d {
    fn generate(self, file: Option<Bytes>, max_image_bytes: usize) -> Result<Generate, RequestError> {
        let input = match (file, self.image_url, self.image_base64) {
            (Some(file), None, None) => Input::ImageFile(file),
            (None, Some(url), None) => Input::ImageUrl(url),
            (None, None, Some(text)) => Input::ImageFile(images::from_base64(&text, max_image_bytes)?),
            _ => {
                let detail = "Send exactly one image: `image_url` or `image_base64`, or the file field `image` of a form.";
                return Err(RequestError::field(&[], detail));
            }
        };
        let options = Options {
            output_formats: self.output_formats,
            quality: self.quality,
            seed: self.seed,
            pool: self.pool,
            sampling: self.sampling,
            mesh: self.mesh,
        };
        Ok(Generate { input, options })
    }
}

/// The body of `POST /api/v1/generate/text-to-3d`.
#[derive(Debug)]
pub(crate) struct TextRequest(pub Generate);

impl FromRequest<App> for TextRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        let body: TextTo3d = match body::media_type(&request).as_deref() {
            Some("application/json") => body::json(request).await?,
            _ => return Err(RequestError::MediaType("application/json").into()),
        };
        let options = Options {
            output_formats: body.output_formats,
            quality: body.quality,
            seed: body.seed,
            pool: body.pool,
            sampling: body.sampling,
            mesh: body.mesh,
        };
        Ok(Self(Generate { input: Input::Text(body.prompt), options }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::header::CONTENT_TYPE;

    fn request(content_type: &str, body: impl Into<Body>) -> Request {
        Request::post("/").header(CONTENT_TYPE, content_type).body(body.into()).unwrap()
    }

    async fn from_json(text: &str) -> Result<Generate, RequestError> {
        let body: ImageTo3d = body::json(request("application/json", text.to_owned())).await?;
        body.generate(None, 1000)
    }

    async fn from_form(fields: &[(&str, &str)]) -> Result<Generate, RequestError> {
        let parts = fields.iter().map(|(name, value)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        });
        let form = parts.collect::<String>() + "--b--\r\n";
        let (file, body): (_, ImageTo3d) =
            body::multipart(request("multipart/form-data; boundary=b", form)).await?;
        body.generate(file, 1000)
    }

    fn fault(result: Result<Generate, RequestError>) -> (String, String) {
        match result {
            Err(RequestError::Field(field)) => (field.pointer, field.detail),
            other => panic!("not a fault of a field: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_form_and_json_say_the_same() {
        let json = r#"{"image_base64": "cG5n", "output_formats": ["glb", "usdz", "stl"], "quality": "high", "seed": 7,
            "sampling": {"sparse_structure": {"steps": 3, "cfg_strength": 7.5}}, "mesh": {"texture_size": 512}, "pool": "123"}"#;
        let form = [
            ("image", "png"),
            ("output_formats", "glb, usdz"),
            ("output_formats", "stl"),
            ("quality", "high"),
            ("seed", "7"),
            ("sampling", r#"{"sparse_structure": {"steps": 3, "cfg_strength": 7.5}}"#),
            ("mesh", r#"{"texture_size": 512}"#),
            ("pool", "123"),
        ];
        assert_eq!(from_json(json).await.unwrap(), from_form(&form).await.unwrap());
    }

    #[tokio::test]
    async fn a_wrong_field_is_named_by_pointer() {
        let (pointer, detail) = fault(from_json(r#"{"image_url": "u", "qualty": "high"}"#).await);
        assert_eq!(pointer, "/qualty");
        assert!(detail.starts_with("unknown field `qualty`"), "{detail}");
        let in_form = fault(from_form(&[("image", "png"), ("qualty", "high")]).await);
        assert_eq!(in_form, (pointer, detail));
        let (pointer, detail) = fault(from_json(r#"{"image_url": "u", "seed": "x"}"#).await);
        assert_eq!(
            (pointer.as_str(), detail.as_str()),
            ("/seed", "invalid type: string \"x\", expected i64")
        );
        assert_eq!(fault(from_form(&[("image", "png"), ("seed", "x")]).await), (pointer, detail));
        let nested = r#"{"image_url": "u", "sampling": {"structured_latent": {"steps": 1.5}}}"#;
        assert_eq!(fault(from_json(nested).await).0, "/sampling/structured_latent/steps");
        let formats = r#"{"image_url": "u", "output_formats": ["glb", "fbx"]}"#;
        assert_eq!(fault(from_json(formats).await).0, "/output_formats/1");
    }

    #[tokio::test]
    async fn there_must_be_exactly_one_image() {
        for none_or_two in ["{}", r#"{"image_url": "u", "image_base64": "cG5n"}"#] {
            assert!(fault(from_json(none_or_two).await).1.contains("exactly one image"));
        }
        assert!(
            fault(from_form(&[("image", "a"), ("image_url", "u")]).await).1.contains("exactly one image")
        );
        assert_eq!(fault(from_form(&[("image", "a"), ("image", "b")]).await).0, "/image");
    }

    #[tokio::test]
    async fn what_is_no_json_or_no_form_is_malformed() {
        for text in ["", "{", "{\"seed\"", "{} {}"] {
            assert!(matches!(from_json(text).await, Err(RequestError::Malformed(_))), "{text}");
        }
        let cut = request(
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\npn",
        );
        let result = body::multipart::<ImageTo3d>(cut).await;
        assert!(matches!(result, Err(RequestError::Malformed(_))), "{result:?}");
    }
}
