//! A value for each active voxel.

use std::rc::Rc;

use tch::{Kind, Tensor};

use super::Grid;
use crate::{Error, Result};

/// Features `[N, C]` on the voxels of a grid.
#[derive(Debug)]
pub struct SparseTensor {
    grid: Rc<Grid>,
    feats: Tensor,
}

impl SparseTensor {
    /// `feats` `[N, C]` on `grid`.
    ///
    /// # Errors
    /// When there is not one row for each voxel.
    pub fn new(grid: Rc<Grid>, feats: Tensor) -> Result<Self> {
        let (rows, _) = feats.size2()?;
        if rows != grid.len() {
            return Err(Error::InvalidInput(format!("{rows} rows of features for {} voxels", grid.len())));
        }
        Ok(Self { grid, feats })
    }

    /// The voxels.
    pub fn grid(&self) -> &Rc<Grid> {
        &self.grid
    }

    /// `[N, C]`.
    pub fn feats(&self) -> &Tensor {
        &self.feats
    }

    /// The positions `[n, 3]` and the features `[n, C]` of each sample.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn samples(&self) -> Result<Vec<(Tensor, Tensor)>> {
        let lengths = self.grid.lengths();
        let positions = self.grid.positions()?.f_split_with_sizes(lengths, 0)?;
        let feats = self.feats.f_split_with_sizes(lengths, 0)?;
        Ok(positions.into_iter().zip(feats).collect())
    }

    /// Other features on the same voxels.
    ///
    /// # Errors
    /// As [`SparseTensor::new`].
    pub fn with(&self, feats: Tensor) -> Result<Self> {
        Self::new(Rc::clone(&self.grid), feats)
    }

    /// Halves the resolution. A value is the sum of its children divided by their number **plus one**: so the released
    /// models were trained.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn downsample(&self) -> Result<Self> {
        let children = self.grid.children()?;
        let divisor = children.counts().f_add_scalar(1)?.f_unsqueeze(1)?.f_to_kind(Kind::Float)?;
        let mean = children.sum(&self.feats)?.f_div(&divisor)?;
        Self::new(Rc::clone(self.grid.coarser()?), mean.f_to_kind(self.feats.f_kind()?)?)
    }

    /// Copies the values back to the voxels of `finer`, the grid that this one is the coarser of.
    ///
    /// # Errors
    /// When it is the coarser of another grid, or libtorch fails.
    pub fn upsample(&self, finer: &Rc<Grid>) -> Result<Self> {
        if !Rc::ptr_eq(finer.coarser()?, &self.grid) {
            return Err(Error::InvalidInput(
                "features can only be upsampled to the grid they came from".into(),
            ));
        }
        Self::new(Rc::clone(finer), self.feats.f_index_select(0, finer.children()?.group_of_row())?)
    }

    /// Divides each voxel into eight on `finer`, the grid's [`Grid::subdivided`], each with a copy of the value.
    ///
    /// # Errors
    /// When `finer` has not eight times as many voxels, or libtorch fails.
    pub fn subdivide(&self, finer: &Rc<Grid>) -> Result<Self> {
        let copies = self.feats.f_unsqueeze(1)?.f_expand([-1, 8, -1], false)?.f_flatten(0, 1)?;
        Self::new(Rc::clone(finer), copies)
    }

    /// Runs `layer` on the tokens of each sample, `[samples, tokens, C]`, and on the number of the first sample among
    /// them. Samples of equal length go together.
    ///
    /// # Errors
    /// When `layer` or libtorch fails.
    pub fn map_samples(&self, layer: impl Fn(&Tensor, i64) -> Result<Tensor>) -> Result<Self> {
        let lengths = self.grid.lengths();
        if lengths.windows(2).all(|pair| pair[0] == pair[1]) {
            let tokens = self.feats.f_unflatten(0, [lengths.len() as i64, -1])?;
            return self.with(layer(&tokens, 0)?.f_flatten(0, 1)?);
        }
        let parts = self.feats.f_split_with_sizes(lengths, 0)?;
        let mapped: Vec<Tensor> = (0..)
            .zip(&parts)
            .map(|(sample, part)| Ok(layer(&part.f_unsqueeze(0)?, sample)?.f_squeeze_dim(0)?))
            .collect::<Result<_>>()?;
        self.with(Tensor::f_cat(&mapped, 0)?)
    }
}
