//! Convolution over active voxels, in f16.

use std::ffi::{c_int, c_void};

use tch::{Kind, Tensor};

use super::{Kernels, are_plain, stream, values, values_mut};
use crate::Result;

/// Who is beside whom.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Neighbours<'a> {
    /// `[N, 27]` in i32: the row of each neighbour, N or more where there is none.
    Of(&'a Tensor),
    /// That of the grid of half the resolution, `[N / 8, 27]`, whose voxels were each divided into eight.
    OfParents(&'a Tensor),
}

/// What is added to a convolution's result.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Around<'a> {
    Nothing,
    /// `[N, outputs]`.
    Voxels(&'a Tensor),
    /// `[N / 8, outputs]`: all eight parts of a divided voxel get the same.
    Parents(&'a Tensor),
}

/// A convolution's tensors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands<'a> {
    /// `[N, inputs]`.
    pub(crate) x: &'a Tensor,
    pub(crate) neighbours: Neighbours<'a>,
    /// `[outputs, 27 · inputs]`; of a convolution that divides, `[8, outputs, 8 · inputs]`.
    pub(crate) weight: &'a Tensor,
    /// `[outputs]`.
    pub(crate) bias: &'a Tensor,
    pub(crate) around: Around<'a>,
}

/// `Shape` in sparse_conv.cu.
#[repr(C)]
struct Shape {
    x: *const c_void,
    map: *const c_int,
    weight: *const c_void,
    bias: *const c_void,
    around: *const c_void,
    out: *mut c_void,
    voxels: i64,
    divided: c_int,
    inputs: c_int,
    outputs: c_int,
    taps: c_int,
    children: c_int,
    around_shift: c_int,
}

/// `[N, outputs]`, or `[8 N, outputs]` of a convolution that divides. `None`: do it otherwise.
pub(crate) fn convolve(operands: &Operands) -> Result<Option<Tensor>> {
    let &Operands { x, neighbours, weight, bias, around } = operands;
    let Some(kernels) = Kernels::on(x.device()) else { return Ok(None) };
    let (voxels, inputs) = x.size2()?;
    let outputs = bias.size1()?;
    let (map, divided) = match neighbours {
        Neighbours::Of(map) => (map, false),
        Neighbours::OfParents(map) => (map, true),
    };
    let (added, around_shift) = match around {
        Around::Nothing => (None, 0),
        Around::Voxels(rows) => (Some(rows), 0),
        Around::Parents(rows) => (Some(rows), 3),
    };
    let halves = [Some(x), Some(weight), Some(bias), added];
    let halves: Vec<&Tensor> = halves.into_iter().flatten().collect();
    let fits = inputs % 32 == 0
        && outputs % 8 == 0
        && are_plain(Kind::Half, &halves)
        && are_plain(Kind::Int, &[map]);
    if !fits {
        return Ok(None);
    }
    let children = if weight.dim() == 3 { 8 } else { 1 };
    let out = Tensor::f_empty([children * voxels, outputs], (Kind::Half, x.device()))?;
    let shape = Shape {
        x: values(x),
        map: values(map),
        weight: values(weight),
        bias: values(bias),
        around: added.map_or(std::ptr::null(), values),
        out: values_mut(&out),
        voxels,
        divided: divided.into(),
        inputs: inputs as c_int,
        outputs: outputs as c_int,
        taps: if children == 8 { 8 } else { 27 },
        children: children as c_int,
        around_shift,
    };
    // SAFETY: the type is that in sparse_conv.cu; the tensors live until their memory is used again on this stream.
    kernels.check(unsafe {
        let run: extern "C" fn(*const Shape, *mut c_void) -> c_int =
            kernels.function("trellis_sparse_conv")?;
        run(&raw const shape, stream())
    })?;
    Ok(Some(out))
}
