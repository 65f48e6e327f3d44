//! What lies between the matrix products of a transformer block, in f16 or f32; a sum of f16 may be in f32.

use std::ffi::{c_float, c_int, c_void};
use std::ptr::null;

use tch::{Kind, Tensor};

use super::{Kernels, are_plain, stream, values, values_mut};
use crate::Result;

/// What a residual stream takes up. Rows of gate and constant are of samples, or one for all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Addition<'a> {
    /// `[N, channels]`.
    pub(crate) branch: Option<&'a Tensor>,
    /// What the branch is multiplied by, `[samples, channels]`.
    pub(crate) gate: Option<&'a Tensor>,
    /// `[samples, channels]`.
    pub(crate) constant: Option<&'a Tensor>,
}

/// A layer norm of the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// Scale and shift per channel, in f32.
    pub(crate) affine: Option<(&'a Tensor, &'a Tensor)>,
    /// A shift and a scale, to which one is added, of each sample: `[samples, channels]`.
    pub(crate) modulation: Option<(&'a Tensor, &'a Tensor)>,
    pub(crate) eps: f64,
    /// Where the result goes, `[N, channels]`.
    pub(crate) out: &'a Tensor,
}

/// `Residual` in transformer.cu.
#[repr(C)]
struct Residual {
    x: *mut c_void,
    branch: *const c_void,
    gate: *const c_void,
    constant: *const c_void,
    out: *mut c_void,
    weight: *const c_float,
    bias: *const c_float,
    scale: *const c_void,
    shift: *const c_void,
    sample: *const c_int,
    rows: i64,
    gate_stride: i64,
    constant_stride: i64,
    scale_stride: i64,
    channels: c_int,
    x_is_half: c_int,
    is_half: c_int,
    eps: c_float,
}

/// Adds to `x` `[N, channels]` in place, and normalises the sum; all but `x` and the affine's parts is of this `kind`. `sample`
/// `[N]` in i32 is the sample of each row. False: nothing was done; do it otherwise.
pub(crate) fn residual_norm(
    x: &Tensor,
    kind: Kind,
    sample: Option<&Tensor>,
    addition: Addition,
    norm: Option<Norm>,
) -> Result<bool> {
    let Some(kernels) = Kernels::on(x.device()) else { return Ok(false) };
    let (rows, channels) = x.size2()?;
    let modulation = norm.and_then(|norm| norm.modulation);
    let per_sample =
        [addition.gate, addition.constant, modulation.map(|pair| pair.0), modulation.map(|pair| pair.1)];
    let whole = [addition.branch, norm.map(|norm| norm.out)];
    let fits = channels % 8 == 0
        && channels <= 2048
        && rows > 0
        && matches!((x.kind(), kind), (Kind::Half | Kind::Float, Kind::Half) | (Kind::Float, Kind::Float))
        && are_plain(x.kind(), &[x])
        && whole
            .into_iter()
            .flatten()
            .all(|tensor| are_plain(kind, &[tensor]) && tensor.size() == [rows, channels])
        && per_sample.into_iter().flatten().all(|tensor| are_rows(tensor, kind, channels, sample.is_some()));
    if !fits {
        return Ok(false);
    }
    let of = |tensor: Option<&Tensor>| tensor.map_or(null(), values);
    let affine = norm.and_then(|norm| norm.affine);
    let is_one = per_sample.into_iter().flatten().all(|tensor| tensor.size()[0] == 1);
    let residual = Residual {
        x: values_mut(x),
        branch: of(addition.branch),
        gate: of(addition.gate),
        constant: of(addition.constant),
        out: norm.map_or(std::ptr::null_mut(), |norm| values_mut(norm.out)),
        weight: affine.map_or(null(), |pair| values(pair.0)),
        bias: affine.map_or(null(), |pair| values(pair.1)),
        scale: of(modulation.map(|pair| pair.1)),
        shift: of(modulation.map(|pair| pair.0)),
        sample: if is_one { null() } else { sample.map_or(null(), values) },
        rows,
        gate_stride: row_stride(addition.gate),
        constant_stride: row_stride(addition.constant),
        scale_stride: row_stride(modulation.map(|pair| pair.1)),
        channels: channels as c_int,
        x_is_half: (x.kind() == Kind::Half).into(),
        is_half: (kind == Kind::Half).into(),
        eps: norm.map_or(0.0, |norm| norm.eps) as c_float,
    };
    // SAFETY: the type is that in transformer.cu; the tensors live until their memory is used again on this stream.
    kernels.check(unsafe {
        let run: extern "C" fn(*const Residual, *mut c_void) -> c_int =
            kernels.function("trellis_residual_norm")?;
        run(&raw const residual, stream())
    })?;
    Ok(true)
}

/// Whether a tensor is one row for all samples, or one for each and it is known whose rows are whose.
fn are_rows(tensor: &Tensor, kind: Kind, channels: i64, is_known: bool) -> bool {
    let (size, stride) = (tensor.size(), tensor.stride());
    tensor.kind() == kind
        && (tensor.data_ptr() as usize).is_multiple_of(16)
        && matches!((&size[..], &stride[..]), (&[rows, width], &[step, 1])
            if width == channels && step % 8 == 0 && (rows == 1 || is_known))
}

/// From a row to the next; none where there is one row for all.
fn row_stride(tensor: Option<&Tensor>) -> i64 {
    tensor.filter(|tensor| tensor.size()[0] > 1).map_or(0, |tensor| tensor.stride()[0])
}

/// Divides each head of `x` `[N, .., width]` by its length and multiplies it by `scale` `[.., width]` in f32, in place; x
/// may be a part of longer rows. False: nothing was done; do it otherwise.
pub(crate) fn head_norm(x: &Tensor, scale: &Tensor) -> Result<bool> {
    type Run =
        extern "C" fn(*mut c_void, *const c_float, i64, i64, c_int, c_int, c_int, *mut c_void) -> c_int;
    let Some(kernels) = Kernels::on(x.device()) else { return Ok(false) };
    let (size, stride, kind) = (x.size(), x.stride(), x.kind());
    let (Some((&rows, inner)), Some((&step, strides))) = (size.split_first(), stride.split_first()) else {
        return Ok(false);
    };
    let width = inner.last().copied().unwrap_or(0);
    let fits = matches!(kind, Kind::Half | Kind::Float)
        && inner == scale.size()
        && strides == scale.stride()
        && rows > 0
        && step % 8 == 0
        && (8..=128).contains(&width)
        && width % 8 == 0
        && (x.data_ptr() as usize).is_multiple_of(16)
        && are_plain(Kind::Float, &[scale]);
    if !fits {
        return Ok(false);
    }
    // SAFETY: the type is that in transformer.cu; the tensors live until their memory is used again on this stream.
    kernels.check(unsafe {
        kernels.function::<Run>("trellis_head_norm")?(
            values_mut(x),
            values(scale),
            rows,
            step,
            (scale.numel() as i64 / width) as c_int,
            width as c_int,
            (kind == Kind::Half).into(),
            stream(),
        )
    })?;
    Ok(true)
}
