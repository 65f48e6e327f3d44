//! Voxels by window, arranged so that attention runs over many windows at once.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use tch::{Device, Tensor};

use super::Grid;
use super::grid::once;
use crate::Result;
use crate::kernels::window_attention::Tiles;

/// Windows are padded to a multiple of this many voxels, at least.
const SMALLEST: usize = 32;

/// A partition of a grid's voxels into cubic windows, without wrap-around: at the border windows are cut off.
#[derive(Debug)]
pub struct Windows {
    /// The rows of all windows, one window after the other, `[N]`.
    order: Tensor,
    lengths: Vec<usize>,
    /// The same, for the kernel.
    tiles: Tiles,
    padded: OnceCell<Padded>,
}

/// The windows as batches, for libtorch's attention.
#[derive(Debug)]
pub(super) struct Padded {
    pub(super) batches: Vec<Batch>,
    /// Where each voxel lies in the batches one after the other, `[N]`.
    pub(super) place: Tensor,
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
        let counts = Vec::<i64>::try_from(counts)?;
        let lengths: Vec<usize> = counts.into_iter().map(|count| count as usize).collect();
        let tiles = Tiles::new(&order, &lengths)?;
        Ok(Self { order, lengths, tiles, padded: OnceCell::new() })
    }

    /// Voxels of each window, ordered by (sample, x, y, z) of the window.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    pub(super) fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    pub(super) fn padded(&self) -> Result<&Padded> {
        once(&self.padded, || Padded::arrange(&self.order, &self.lengths))
    }
}

impl Padded {
    /// Puts windows whose sizes round up to the same power of two into one batch: few launches, little padding.
    fn arrange(order: &Tensor, lengths: &[usize]) -> Result<Self> {
        let device = order.device();
        let order = Vec::<i64>::try_from(order)?;
        let mut by_size = BTreeMap::<usize, Vec<&[i64]>>::new();
        let mut rest = &order[..];
        for &length in lengths {
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
            batches.push(Batch::new(&rows, order.len(), widest, is_padded, device)?);
        }
        Ok(Self { batches, place: Tensor::f_from_slice(&place)?.f_to_device(device)? })
    }
}

impl Batch {
    /// `rows` of `voxels` there are, in windows of `widest`.
    fn new(rows: &[i64], voxels: usize, widest: usize, is_padded: bool, device: Device) -> Result<Self> {
        let rows = Tensor::f_from_slice(rows)?.f_view([-1, widest as i64])?.f_to_device(device)?;
        let mask = || rows.f_ne(voxels as i64)?.f_unsqueeze(1)?.f_unsqueeze(1);
        let mask = is_padded.then(mask).transpose()?;
        Ok(Self { rows, mask })
    }
}
