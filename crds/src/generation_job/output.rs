//! Which files a job makes, and where they go.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which files a job makes, and where they go.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The files to make (default `[glb]`), each at most once. `glb`: mesh with its colours in one file; `obj`: mesh, material
    /// and texture, zipped; `stl`: mesh without colours; `ply`: 3D Gaussians, of models that have a decoder for them;
    /// `usdz`: mesh with its colours for Apple's viewers.
    #[serde(default = "glb_alone")]
    #[schemars(length(min = 1, max = 5))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub formats: Vec<Format>,

    /// How the mesh is finished.
    #[serde(default)]
    pub mesh: MeshOutput,

    /// Whether to render `preview.png` as well (default true).
    #[serde(default = "yes")]
    pub preview: bool,

    /// Where the files go: `gs://bucket/prefix` or `file:///path`; they land in
    /// `<destination>/<namespace>/<job uid>/<attempt>/`. The installation's own place where left out. At most 1024
    /// characters. Example: `gs://my-bucket/assets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^(gs://[^/]+.*|file:///.+)$')")
            .message("write gs://bucket/prefix or file:///path")
    )]
    pub destination: Option<String>,
}

impl Default for Output {
    fn default() -> Self {
        Output { formats: glb_alone(), mesh: MeshOutput::default(), preview: yes(), destination: None }
    }
}

/// A file format of an asset.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Binary glTF: mesh with its colours.
    #[default]
    Glb,
    /// Wavefront OBJ with its material and texture.
    Obj,
    /// 3D Gaussians.
    Ply,
    /// Mesh without colours.
    Stl,
    /// Universal Scene Description, packed.
    Usdz,
}

/// How the mesh is finished.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshOutput {
    /// The part of the triangles to remove, 0 to 0.99 (default 0.95). 0 keeps all, some 300,000 for a usual object.
    #[serde(default = "most_triangles")]
    // Not `maximum: 0.99`: the API server rounds it in its message, and would tell people to write 0.
    #[x_kube(
        validation = Rule::new("self >= 0.0 && self <= 0.99").message("write a number from 0 to 0.99")
    )]
    pub simplify: f64,

    /// The texture's edge in pixels: 512, 1024, 2048 or 4096. By `spec.quality` where left out: 1024, 1024 or 2048.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("self in [512, 1024, 2048, 4096]").message("write 512, 1024, 2048 or 4096")
    )]
    pub texture_size: Option<i32>,

    /// Whether to close holes of the surface (default true).
    #[serde(default = "yes")]
    pub fill_holes: bool,
}

impl Default for MeshOutput {
    fn default() -> Self {
        MeshOutput { simplify: most_triangles(), texture_size: None, fill_holes: yes() }
    }
}

fn glb_alone() -> Vec<Format> {
    vec![Format::Glb]
}

fn most_triangles() -> f64 {
    0.95
}

fn yes() -> bool {
    true
}
