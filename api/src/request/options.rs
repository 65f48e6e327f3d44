//! What every request may say beside its input: how the asset is made, and into which files.

use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

/// Hands the fields that every request has to the macro `$then`, after `$own`: so they stand here once, and yet in each body's
/// type and description. (Flattening would take what is unknown without a word.)
macro_rules! with_options {
    ($then:ident! { $($own:tt)* }) => {
        $then! {
            { $($own)* }
            /// Files to make, each at most once (default `["glb"]`).
            #[schema(value_type = Option<BTreeSet<Format>>, min_items = 1, max_items = 5)]
            output_formats: Option<Vec<Format>>,
            /// Whether to draw a picture of the asset as well, the file `preview` (default true).
            preview: Option<bool>,
            /// Preset for what `sampling` and `mesh` leave out (default `balanced`).
            quality: Option<Quality>,
            /// Seed of the noise; the same seed and request give the same files. Drawn at random where left out.
            #[schema(minimum = 0, maximum = 4294967295_i64, example = 42)]
            seed: Option<i64>,
            /// How many different assets to make of the input (default 1).
            #[schema(minimum = 1, maximum = 4)]
            samples: Option<i32>,
            /// How the model samples.
            #[serde(default, deserialize_with = "crate::request::object::object")]
            sampling: Option<Sampling>,
            /// How the mesh is finished.
            #[serde(default, deserialize_with = "crate::request::object::object")]
            mesh: Option<Mesh>,
            /// The model by name, where it must be this one and no other.
            #[schema(min_length = 1, max_length = 128, example = "trellis-image-large")]
            model: Option<String>,
            /// A worker pool by name. Any that takes this kind of input where left out.
            #[schema(min_length = 1, max_length = 50)]
            pool: Option<String>,
            /// Which waiting job goes first (default 0): a step more is worth a minute of waiting.
            #[schema(minimum = -1000, maximum = 1000)]
            priority: Option<i32>,
            /// How many failed attempts are followed by another one (default 3).
            #[schema(minimum = 0, maximum = 20)]
            backoff_limit: Option<i32>,
            /// How long each part of the job may take.
            #[serde(default, deserialize_with = "crate::request::object::object")]
            deadlines: Option<Deadlines>,
            /// When the job is deleted after it ended, in seconds. Its files stay. Never where left out.
            #[schema(minimum = 0, maximum = 31536000)]
            ttl_seconds_after_finished: Option<i32>,
            /// The same for a job that failed. As `ttl_seconds_after_finished` where left out.
            #[schema(minimum = 0, maximum = 31536000)]
            ttl_seconds_after_failed: Option<i32>,
            /// Whom to tell of the job.
            #[serde(default, deserialize_with = "crate::request::object::object")]
            webhook: Option<Webhook>,
            /// What to do while the workers for this input fail one after another (default `refuse`).
            when_failing: Option<WhenFailing>,
        }
    };
}
pub(super) use with_options;

/// Defines a body: its own fields, and those that every request has.
macro_rules! body {
    (
        { $(#[$meta:meta])* $name:ident { $($own:tt)* } }
        $($(#[$option_meta:meta])* $option:ident: $type:ty,)*
    ) => {
        #[derive(Debug, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub(crate) struct $name {
            $($own)*
            $($(#[$option_meta])* pub $option: $type,)*
        }

        impl $crate::request::options::HasOptions for $name {
            fn options(&mut self) -> Options {
                Options { $($option: self.$option.take(),)* }
            }
        }
    };
}
pub(super) use body;

with_options! { body! {
    /// How an asset is made, and into which files.
    #[derive(Clone, Default, PartialEq)]
    Options {}
} }

/// A body, of which a part is [`Options`].
pub(super) trait HasOptions {
    /// Takes them out.
    fn options(&mut self) -> Options;
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
#[schema(example = json!({"sparse_structure": {"steps": 25, "cfg_strength": 7.5}, "structured_latent": {"steps": 25}}))]
pub(crate) struct Sampling {
    /// The first stage: the coarse shape.
    #[serde(default, deserialize_with = "crate::request::object::object")]
    pub sparse_structure: Option<Stage>,
    /// The second stage: fine shape and surface.
    #[serde(default, deserialize_with = "crate::request::object::object")]
    pub structured_latent: Option<Stage>,
}

/// How one stage samples.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    /// Sampling steps; by `quality` where left out.
    #[schema(minimum = 1, maximum = 200)]
    pub steps: Option<i32>,
    /// Strength of the guidance: how closely the asset follows the input. The model's own where left out.
    #[schema(minimum = 0, maximum = 20)]
    pub cfg_strength: Option<f64>,
}

/// How the mesh is finished.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"simplify": 0.9, "texture_size": 2048}))]
pub(crate) struct Mesh {
    /// The part of the triangles to remove (default 0.95).
    #[schema(minimum = 0, maximum = 0.99)]
    pub simplify: Option<f64>,
    /// The texture's edge in pixels; by `quality` where left out.
    #[schema(schema_with = texture_sizes)]
    pub texture_size: Option<i32>,
    /// Whether to close holes of the surface (default true).
    pub fill_holes: Option<bool>,
}

fn texture_sizes() -> RefOr<Schema> {
    let sizes = [512, 1024, 2048, 4096].map(|size| Some(serde_json::json!(size)));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .description(Some("The texture's edge in pixels; by `quality` where left out."))
        .enum_values(Some(sizes.into_iter().chain([None])))
        .into()
}

/// How long each part of a job may take.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"queue_seconds": 600, "run_seconds": 900}))]
pub(crate) struct Deadlines {
    /// How long the job may wait for its first worker, in seconds; it fails after that. No limit where left out.
    #[schema(minimum = 1, maximum = 31536000)]
    pub queue_seconds: Option<i32>,
    /// How long an assigned worker may take to its first sign of life, in seconds (default 300); the job goes to another one after that.
    #[schema(minimum = 30, maximum = 86400)]
    pub start_seconds: Option<i32>,
    /// How long one attempt may run, in seconds (default 3600); it failed after that.
    #[schema(minimum = 1, maximum = 604800)]
    pub run_seconds: Option<i32>,
}

/// Whom to tell of a job.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://example.com/hooks/trellis", "events": ["completed", "failed"]}))]
pub(crate) struct Webhook {
    /// A public `https://` address, which gets a signed POST for each event.
    #[schema(min_length = 1, max_length = 2048, pattern = "^https://[^/]+.*$", format = "uri")]
    pub url: String,
    /// What to tell, each at most once (default `["completed", "failed", "cancelled"]`).
    #[schema(value_type = Option<BTreeSet<WebhookEvent>>, min_items = 1, max_items = 5)]
    pub events: Option<Vec<WebhookEvent>>,
}

/// What a webhook can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WebhookEvent {
    /// The first attempt began.
    Start,
    /// How far the attempt that runs is.
    Progress,
    /// The files are there.
    Completed,
    /// The job failed for good.
    Failed,
    /// The job was cancelled.
    Cancelled,
}

/// What to do with a request while the workers for its input fail one after another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenFailing {
    /// Answer 503 `pool_failing`.
    #[default]
    Refuse,
    /// Take the job; it waits until the workers work again.
    Queue,
}
