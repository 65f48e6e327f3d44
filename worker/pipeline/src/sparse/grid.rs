//! The active voxels of a batch of samples.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::subdivision::{step_from, steps};
use super::{Groups, Windows};
use crate::kernels::sparse_conv::Neighbours;
use crate::{Error, Result};

/// Coordinates stay below this, so that four of them fit an `i64` key with room for a step to a neighbour.
const LIMIT: i64 = 1 << 15;
const FIELD_BITS: i64 = 16;

/// Active voxels, and what was found out about them.
#[derive(Debug)]
pub struct Grid {
    coords: Tensor,
    lengths: Vec<i64>,
    /// The grid whose voxels were each divided into eight of these, if it came about that way.
    parent: Option<Rc<Self>>,
    neighbours: OnceCell<Tensor>,
    coarser: OnceCell<Coarser>,
    windows: RefCell<BTreeMap<(i64, i64), Rc<Windows>>>,
}

/// A grid of half the resolution, and the voxels that each of its voxels holds.
#[derive(Debug)]
struct Coarser {
    grid: Rc<Grid>,
    children: Groups,
}

impl Grid {
    /// Voxels `[N, 4]` = (sample, x, y, z) in i32, distinct; those of a sample are contiguous and samples ascend.
    ///
    /// # Errors
    /// When coordinates are out of range, samples are out of order or one has no voxel, or libtorch fails.
    pub fn new(coords: Tensor) -> Result<Rc<Self>> {
        let coords = coords.f_to_kind(Kind::Int)?;
        let lengths = lengths(&coords)?;
        Ok(Rc::new(Self::with_lengths(coords, lengths, None)))
    }

    fn with_lengths(coords: Tensor, lengths: Vec<i64>, parent: Option<Rc<Self>>) -> Self {
        let (neighbours, coarser, windows) = Default::default();
        Self { coords, lengths, parent, neighbours, coarser, windows }
    }

    /// `[N, 4]` = (sample, x, y, z).
    pub fn coords(&self) -> &Tensor {
        &self.coords
    }

    /// `[N, 3]`: the coordinates without the sample.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn positions(&self) -> Result<Tensor> {
        Ok(self.coords.f_narrow(1, 1, 3)?)
    }

    /// Voxels of each sample.
    pub fn lengths(&self) -> &[i64] {
        &self.lengths
    }

    /// Voxels of all samples.
    pub fn len(&self) -> i64 {
        self.lengths.iter().sum()
    }

    /// Whether there is no voxel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the coordinates are.
    pub fn device(&self) -> Device {
        self.coords.device()
    }

    /// The sample of each voxel, `[N]` in i32.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn sample_of_row(&self) -> Result<Tensor> {
        Ok(self.coords.f_select(1, 0)?.f_contiguous()?)
    }

    /// `[N, 27]` in i32: the row of each neighbour, by x, then y, then z, from -1 to 1; N where there is no voxel.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn neighbours(&self) -> Result<&Tensor> {
        let find = || match &self.parent {
            Some(parent) => subdivided_neighbours(parent),
            None => self.search_neighbours(),
        };
        once(&self.neighbours, find)
    }

    /// The same as the convolution's kernel takes it: for divided voxels their parents' suffice.
    pub(super) fn nearby(&self) -> Result<Neighbours<'_>> {
        match &self.parent {
            Some(parent) => Ok(Neighbours::OfParents(parent.neighbours()?)),
            None => Ok(Neighbours::Of(self.neighbours()?)),
        }
    }

    /// The grid of half the resolution: coordinates halved, sorted by (sample, x, y, z).
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn coarser(&self) -> Result<&Rc<Self>> {
        Ok(&self.coarser_with_children()?.grid)
    }

    /// Which voxels each voxel of the coarser grid holds.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn children(&self) -> Result<&Groups> {
        Ok(&self.coarser_with_children()?.children)
    }

    /// The grid of twice the resolution in which each voxel is divided into eight, which follow one another, z fastest.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn subdivided(self: &Rc<Self>) -> Result<Rc<Self>> {
        let corners: Vec<i32> = (0..8).flat_map(|child| [0, child >> 2, child >> 1 & 1, child & 1]).collect();
        let corners = Tensor::f_from_slice(&corners)?.f_view([1, 8, 4])?.f_to_device(self.device())?;
        let doubled = Tensor::f_from_slice(&[1i32, 2, 2, 2])?.f_to_device(self.device())?;
        let coords = self.coords.f_mul(&doubled)?.f_unsqueeze(1)?.f_add(&corners)?.f_flatten(0, 1)?;
        let lengths = self.lengths.iter().map(|length| 8 * length).collect();
        Ok(Rc::new(Self::with_lengths(coords, lengths, Some(Rc::clone(self)))))
    }

    /// The voxels by windows of `size`³ whose origin is moved by `shift`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn windows(&self, size: i64, shift: i64) -> Result<Rc<Windows>> {
        if let Some(windows) = self.windows.borrow().get(&(size, shift)) {
            return Ok(Rc::clone(windows));
        }
        let windows = Rc::new(Windows::partition(self, size, shift)?);
        self.windows.borrow_mut().insert((size, shift), Rc::clone(&windows));
        Ok(windows)
    }

    /// The key of the cell of `size`³ voxels that each voxel is in, where cells start at -`shift`.
    pub(super) fn cells(&self, size: i64, shift: i64) -> Result<Tensor> {
        let [shift, size] = [[0, shift, shift, shift], [1, size, size, size]];
        let row = |numbers: [i64; 4]| Tensor::f_from_slice(&numbers)?.f_to_device(self.device());
        keys(&self.coords.f_add(&row(shift)?)?.f_floor_divide(&row(size)?)?)
    }

    fn search_neighbours(&self) -> Result<Tensor> {
        let steps: Vec<i64> =
            steps().map(|[x, y, z]| (x << (2 * FIELD_BITS)) + (y << FIELD_BITS) + z).collect();
        let steps = Tensor::f_from_slice(&steps)?.f_to_device(self.device())?;
        let keys = keys(&self.coords)?;
        let (sorted, order) = keys.f_sort(0, false)?;
        let wanted = keys.f_unsqueeze(1)?.f_add(&steps)?;
        let place = wanted.f_searchsorted(&sorted, false, false, "left", None::<Tensor>)?;
        let place = place.f_clamp_max(self.len() - 1)?.f_flatten(0, 1)?;
        let found = sorted.f_index_select(0, &place)?.f_eq_tensor(&wanted.f_flatten(0, 1)?)?;
        let rows = order.f_index_select(0, &place)?.f_masked_fill(&found.f_logical_not()?, self.len())?;
        Ok(rows.f_to_kind(Kind::Int)?.f_view([-1, 27])?)
    }

    fn coarser_with_children(&self) -> Result<&Coarser> {
        once(&self.coarser, || {
            let children = Groups::by_key(&self.cells(2, 0)?, 8)?;
            let coords = coords_of_keys(children.keys(), 4)?;
            let lengths = lengths(&coords)?;
            Ok(Coarser { grid: Rc::new(Self::with_lengths(coords, lengths, None)), children })
        })
    }
}

/// `OnceCell::get_or_init` for something that can fail.
pub(super) fn once<T>(cell: &OnceCell<T>, init: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = init()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}

/// One sortable number for each row of coordinates. They are moved by one, so that a step below zero is no voxel's number.
pub(crate) fn keys(coords: &Tensor) -> Result<Tensor> {
    let columns = coords.f_to_kind(Kind::Int64)?.f_add_scalar(1)?.f_unbind(1)?;
    let start = Tensor::f_zeros([1], (Kind::Int64, coords.device()))?;
    let append = |key: Tensor, column: &Tensor| Ok(key.f_mul_scalar(1 << FIELD_BITS)?.f_add(column)?);
    columns.iter().try_fold(start, append)
}

/// The inverse of [`keys`]: `[N, columns]` in i32.
pub(crate) fn coords_of_keys(keys: &Tensor, columns: i64) -> Result<Tensor> {
    let shifts: Vec<i64> = (0..columns).rev().map(|column| column * FIELD_BITS).collect();
    let shifts = Tensor::f_from_slice(&shifts)?.f_to_device(keys.device())?;
    let fields = keys.f_unsqueeze(1)?.f_bitwise_right_shift(&shifts)?;
    Ok(fields.f_bitwise_and((1 << FIELD_BITS) - 1)?.f_sub_scalar(1)?.f_to_kind(Kind::Int)?)
}

/// The neighbours of divided voxels, by those of the whole ones.
fn subdivided_neighbours(parent: &Grid) -> Result<Tensor> {
    let (neighbours, children): (Vec<i64>, Vec<i32>) =
        (0..8).flat_map(|child| steps().map(move |step| step_from(child, step))).unzip();
    let device = parent.device();
    let neighbours = Tensor::f_from_slice(&neighbours)?.f_to_device(device)?;
    let children = Tensor::f_from_slice(&children)?.f_to_device(device)?;
    let rows = parent.neighbours()?.f_index_select(1, &neighbours)?.f_mul_scalar(8)?.f_add(&children)?;
    // An absent neighbour, row N of the parents, gives 8 N to 8 N + 7.
    Ok(rows.f_clamp_max(8 * parent.len())?.f_view([-1, 27])?)
}

/// Voxels of each sample, after a check of the coordinates.
fn lengths(coords: &Tensor) -> Result<Vec<i64>> {
    let refuse = |message: &str| Err(Error::InvalidInput(format!("voxel coordinates: {message}")));
    let (count, columns) = coords.size2()?;
    if columns != 4 || count == 0 {
        return refuse("at least one row of (sample, x, y, z) is needed");
    }
    let (low, high) = coords.f_aminmax(None, false)?;
    if low.f_int64_value(&[])? < 0 || high.f_int64_value(&[])? >= LIMIT {
        return refuse("out of range");
    }
    let samples = Vec::<i64>::try_from(coords.f_select(1, 0)?.f_to_kind(Kind::Int64)?.f_contiguous()?)?;
    let mut lengths: Vec<i64> = vec![];
    for run in samples.chunk_by(|a, b| a == b) {
        if run.first().is_none_or(|&sample| sample != lengths.len() as i64) {
            return refuse("samples must ascend from 0 without gaps");
        }
        lengths.push(run.len() as i64);
    }
    Ok(lengths)
}
