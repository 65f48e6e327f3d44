//! What an asset is made from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the asset is made from: exactly one of image, text and variant.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.image), has(self.text), has(self.variant)].filter(given, given).size() == 1")
        .message("give exactly one of image, text and variant, such as image: {sources: [{uri: \"gs://bucket/photo.png\"}]}")
)]
pub struct Input {
    /// One photo or rendering of the object, or several views of the same object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageInput>,

    /// A description in words. Needs a pool whose model takes text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextInput>,

    /// A new surface for the shape of a given mesh, described in words. Needs a pool whose model
    /// takes text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantInput>,
}

impl Input {
    /// Which kind of input this is; `None` where it is none, which the API server refuses.
    pub fn kind(&self) -> Option<InputKind> {
        match self {
            Input { image: Some(_), .. } => Some(InputKind::Image),
            Input { text: Some(_), .. } => Some(InputKind::Text),
            Input { variant: Some(_), .. } => Some(InputKind::Variant),
            _ => None,
        }
    }

    /// The files that the asset is made from.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let images = self.image.iter().flat_map(|image| &image.sources);
        images.chain(self.variant.iter().map(|variant| &variant.mesh))
    }
}

/// The kinds of input, by which jobs find a pool.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// Images.
    #[default]
    Image,
    /// A prompt.
    Text,
    /// A mesh and a prompt.
    Variant,
}

/// Images of one object.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageInput {
    /// Where the images are, 1 to 8. PNG, JPEG or WebP. The object should fill the picture; a transparent background is
    /// used as it is. Several images must show the same object from different sides.
    #[schemars(length(min = 1, max = 8))]
    pub sources: Vec<Source>,

    /// How several images share the sampling steps. `stochastic` (default) takes them in turn, one a step, and is as
    /// fast as one image. `multidiffusion` uses all of them in every step: steadier, and slower by their number.
    /// Of no effect with one image.
    #[serde(default)]
    pub multi_image_mode: MultiImageMode,
}

/// How several images share the sampling steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MultiImageMode {
    /// One image a step, in turn.
    #[default]
    Stochastic,
    /// All images in every step.
    Multidiffusion,
}

/// A prompt.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TextInput {
    /// The object in words, 1 to 1000 characters, English. The model reads the first 77 tokens, about 50 words.
    /// Example: `a wooden treasure chest with iron bands`.
    #[schemars(length(min = 1, max = 1000))]
    pub prompt: String,
}

/// A mesh and a prompt.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantInput {
    /// The mesh whose shape is kept: GLB, OBJ, PLY or STL.
    pub mesh: Source,

    /// The new surface in words, 1 to 1000 characters, English. Example: `rusty iron`.
    #[schemars(length(min = 1, max = 1000))]
    pub prompt: String,
}

/// Where an input file is: exactly one of uri and configMapKeyRef.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.uri) != has(self.configMapKeyRef)")
        .message("give exactly one of uri and configMapKeyRef")
)]
pub struct Source {
    /// The file's address: `gs://bucket/object`, `https://host/path` (public hosts only), or `file:///path` in the
    /// worker's file system. At most 2048 characters. Example: `gs://my-bucket/photos/cup.png`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^(gs://[^/]+/.+|https://[^/]+.*|file:///.+)$')")
            .message("write gs://bucket/object, https://host/path or file:///path")
    )]
    pub uri: Option<String>,

    /// A key of a ConfigMap in the job's namespace, at most 1 MiB: a small photo beside the manifest in git, by
    /// kustomize's `configMapGenerator`, needs no bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// A key of a ConfigMap.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's name. It must be in the job's namespace. Example: `photo`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The key under `data` or `binaryData` that holds the file. Example: `photo.png`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
