//! The models that image and text pipelines share: latents to voxels, meshes, Gaussians and radiance fields.

use std::rc::Rc;

use tch::Tensor;
use trellis_asset::{Gaussians, RadianceField};

use super::{ModelFolder, Outputs, Role};
use crate::flexicubes::Surface;
use crate::slat::{GaussianDecoder, MeshDecoder, RadianceFieldDecoder};
use crate::sparse::{Grid, SparseTensor};
use crate::sparse_structure::{SparseStructureDecoder, active_voxels};
use crate::weights::Placement;
use crate::{Error, Result};

/// The decoders, in the memory of a device.
#[derive(Debug)]
pub struct Decoders {
    structure: SparseStructureDecoder,
    mesh: MeshDecoder,
    gaussians: Option<GaussianDecoder>,
    radiance_field: Option<RadianceFieldDecoder>,
}

impl Decoders {
    pub(super) fn load(folder: &ModelFolder, placement: Placement) -> Result<Self> {
        let has = |role| folder.roles().any(|other| other == role);
        let of = |role| folder.checkpoint(role);
        let gaussians =
            has(Role::GaussianDecoder).then(|| GaussianDecoder::load(&of(Role::GaussianDecoder)?, placement));
        let radiance_field = has(Role::RadianceFieldDecoder)
            .then(|| RadianceFieldDecoder::load(&of(Role::RadianceFieldDecoder)?, placement));
        Ok(Self {
            structure: SparseStructureDecoder::load(&of(Role::SparseStructureDecoder)?, placement)?,
            mesh: MeshDecoder::load(&of(Role::MeshDecoder)?, placement)?,
            gaussians: gaussians.transpose()?,
            radiance_field: radiance_field.transpose()?,
        })
    }

    /// Whether there is one for Gaussians.
    pub fn has_gaussians(&self) -> bool {
        self.gaussians.is_some()
    }

    /// Refuses outputs for which no decoder is there.
    ///
    /// # Errors
    /// [`Error::InvalidInput`].
    pub(super) fn check(&self, outputs: Outputs) -> Result<()> {
        if outputs.gaussians && self.gaussians.is_none() {
            return Err(lacking(Role::GaussianDecoder));
        }
        if outputs.radiance_field && self.radiance_field.is_none() {
            return Err(lacking(Role::RadianceFieldDecoder));
        }
        Ok(())
    }

    /// Occupancy logits `[B, 1, 64, 64, 64]` of latents.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn structure(&self, latents: &Tensor) -> Result<Tensor> {
        self.structure.forward(latents)
    }

    /// The active voxels `[N, 3]` of each sample of occupancy logits.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn voxels(&self, logits: &Tensor) -> Result<Vec<Tensor>> {
        let samples = logits.size5()?.0;
        let of = |sample| Ok(active_voxels(&logits.f_narrow(0, sample, 1)?)?.f_narrow(1, 1, 3)?);
        (0..samples).map(of).collect()
    }

    /// The surface of one sample's latents, with colour and predicted normal as attributes.
    ///
    /// # Errors
    /// [`Error::Empty`] when there is none; when numbers overflow or libtorch fails.
    pub fn surface(&self, latents: &SparseTensor) -> Result<Surface> {
        let surfaces = self.mesh.surfaces(latents)?;
        let found = surfaces.into_iter().next().filter(|surface| !surface.faces.is_empty());
        found.ok_or(Error::Empty("no surface"))
    }

    /// The Gaussians of one sample's latents.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the model has no decoder for them; when numbers overflow or libtorch fails.
    pub fn gaussians(&self, latents: &SparseTensor) -> Result<Gaussians> {
        let decoder = self.gaussians.as_ref().ok_or_else(|| lacking(Role::GaussianDecoder))?;
        decoder.forward(latents)?.into_iter().next().ok_or(Error::Empty("no Gaussians"))
    }

    /// The radiance field of one sample's latents.
    ///
    /// # Errors
    /// As [`Decoders::gaussians`].
    pub fn radiance_field(&self, latents: &SparseTensor) -> Result<RadianceField> {
        let decoder = self.radiance_field.as_ref().ok_or_else(|| lacking(Role::RadianceFieldDecoder))?;
        decoder.forward(latents)?.into_iter().next().ok_or(Error::Empty("no radiance field"))
    }
}

fn lacking(role: Role) -> Error {
    Error::InvalidInput(format!("the model that is loaded has no {}; ask for other outputs", role.key()))
}

/// One grid of samples' voxels, `[N, 3]` each, none empty.
///
/// # Errors
/// When libtorch fails.
pub fn join_voxels(samples: &[&Tensor]) -> Result<Rc<Grid>> {
    let numbered = |(sample, voxels): (i64, &&Tensor)| {
        let number = voxels.f_narrow(1, 0, 1)?.f_full_like(sample)?;
        Ok(Tensor::f_cat(&[&number, voxels], 1)?)
    };
    let rows = (0..).zip(samples).map(numbered).collect::<Result<Vec<_>>>()?;
    Grid::new(Tensor::f_cat(&rows, 0)?)
}
