//! Which models a pipeline is made of.

use serde::Deserialize;

/// What a pipeline is conditioned by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Modality {
    /// Images of the object.
    #[serde(rename = "TrellisImageTo3DPipeline")]
    Image,
    /// A text about it.
    #[serde(rename = "TrellisTextTo3DPipeline")]
    Text,
}

impl Modality {
    /// How the input is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
        }
    }
}

/// A model's part in a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Image to condition: DINOv2.
    ImageEncoder,
    /// Text to condition: CLIP.
    TextEncoder,
    /// Noise to the latent of the sparse structure.
    SparseStructureFlow,
    /// That latent to active voxels.
    SparseStructureDecoder,
    /// Noise on the voxels to structured latents.
    SlatFlow,
    /// Structured latents to a mesh.
    MeshDecoder,
    /// Structured latents to Gaussians.
    GaussianDecoder,
    /// Structured latents to a radiance field.
    RadianceFieldDecoder,
}

impl Role {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 8] = [
        Self::ImageEncoder,
        Self::TextEncoder,
        Self::SparseStructureFlow,
        Self::SparseStructureDecoder,
        Self::SlatFlow,
        Self::MeshDecoder,
        Self::GaussianDecoder,
        Self::RadianceFieldDecoder,
    ];

    /// The name in `pipeline.json`.
    pub fn key(self) -> &'static str {
        match self {
            Self::ImageEncoder => "image_cond_model",
            Self::TextEncoder => "text_cond_model",
            Self::SparseStructureFlow => "sparse_structure_flow_model",
            Self::SparseStructureDecoder => "sparse_structure_decoder",
            Self::SlatFlow => "slat_flow_model",
            Self::MeshDecoder => "slat_decoder_mesh",
            Self::GaussianDecoder => "slat_decoder_gs",
            Self::RadianceFieldDecoder => "slat_decoder_rf",
        }
    }

    /// Whether a pipeline of this kind has the role.
    pub fn serves(self, modality: Modality) -> bool {
        match self {
            Self::ImageEncoder => modality == Modality::Image,
            Self::TextEncoder => modality == Modality::Text,
            _ => true,
        }
    }

    /// Whether pipelines can do without it.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::GaussianDecoder | Self::RadianceFieldDecoder)
    }

    /// Whether pipelines of all kinds may share it.
    pub fn is_decoder(self) -> bool {
        matches!(
            self,
            Self::SparseStructureDecoder
                | Self::MeshDecoder
                | Self::GaussianDecoder
                | Self::RadianceFieldDecoder
        )
    }
}
