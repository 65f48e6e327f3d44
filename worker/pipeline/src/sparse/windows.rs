//! Voxels by window, arranged so that attention runs over many windows at once.

use std::collections::BTreeMap;

use tch::Tensor;

use super::Grid;
use crate::Result;
use crate::kernels::window_attention::Tiles;

/// Windows are padded to a multiple of this many voxels, at least.
const SMALLEST: usize = 32;

/// A partition of a grid's voxels into cubic windows, without wrap-around: at the border windows are cut off.
#[derive(Debug)]
pub struct Windows {
    batches: Vec<Batch>,
    /// Where each voxel lies in the batches one after the other, `[N]`.
    place: Tensor,
    lengths: Vec<usize>,
    /// The same, for the kernel.
    tiles: Tiles,
}

/// Windows of similar size, padded to the largest.
#[derive(Debug)]
pub(super) struct Batch {
    /// `[windows, voxels]`: rows, N where padded.
    pub(super) rows: Tensor,
    /// `[windows, 1, 1, voxels]`: what is no padding. `None`: nothing is.
    pub(super) mask: Option<Tensor>,
}

impl Windows {
    /// Windows of `size`³ voxels; window = floor((coordinate + shift) / size).
    pub(super) fn partition(grid: &Grid, size: i64, shift: i64) -> Result<Self> {
        let (sorted, order) = grid.cells(size, shift)?.f_sort_stable(true, 0, false)?;
        let (_, _, counts) = sorted.f_unique_consecutive(false, true, 0)?;
        let lengths =
            Vec::<i64>::try_from(counts)?.into_iter().map(|count| count as usize).collect::<Vec<_>>();
        let tiles = Tiles::new(&order, &lengths)?;
        Self::arrange(grid, &Vec::<i64>::try_from(order)?, lengths, tiles)
    }

    /// Voxels of each window, ordered by (sample, x, y, z) of the window.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    pub(super) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    pub(super) fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    pub(super) fn place(&self) -> &Tensor {
        &self.place
    }

    /// Puts windows whose sizes round up to the same power of two into one batch: few launches, little padding.
    fn arrange(grid: &Grid, order: &[i64], lengths: Vec<usize>, tiles: Tiles) -> Result<Self> {
        let mut by_size = BTreeMap::<usize, Vec<&[i64]>>::new();
        let mut rest = order;
        for &length in &lengths {
            let (window, tail) = rest.split_at(length);
            by_size.entry(length.next_power_of_two().max(SMALLEST)).or_default().push(window);
            rest = tail;
        }
        let mut place = vec![0i64; order.len()];
        let mut offset = 0;
        let mut batches = vec![];
        for windows in by_size.into_values() {
            let widest = windows.iter().map(|window| window.len()).max().unwrap_or_default();
            let mut rows = vec![order.len() as i64; windows.len() * widest];
            for (slots, window) in rows.chunks_mut(widest).zip(&windows) {
                slots[..window.len()].copy_from_slice(window);
                for (slot, &row) in window.iter().enumerate() {
                    place[row as usize] = (offset + slot) as i64;
                }
                offset += widest;
            }
            let is_padded = windows.iter().any(|window| window.len() < widest);
            batches.push(Batch::new(grid, &rows, widest, is_padded)?);
        }
        Ok(Self { batches, place: Tensor::f_from_slice(&place)?.f_to_device(grid.device())?, lengths, tiles })
    }
}

impl Batch {
    fn new(grid: &Grid, rows: &[i64], widest: usize, is_padded: bool) -> Result<Self> {
        let rows = Tensor::f_from_slice(rows)?.f_view([-1, widest as i64])?.f_to_device(grid.device())?;
        let mask = || rows.f_ne(grid.len())?.f_unsqueeze(1)?.f_unsqueeze(1);
        let mask = is_padded.then(mask).transpose()?;
        Ok(Self { rows, mask })
    }
}
