//! Norms followed by SiLU, in f16 or f32.

use std::ffi::{c_float, c_int, c_void};

use tch::{Kind, Tensor};

use super::{Kernels, are_plain, stream, values, values_mut};
use crate::Result;

/// A norm with scale and shift per channel, in f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine<'a> {
    pub(crate) weight: &'a Tensor,
    pub(crate) bias: &'a Tensor,
    pub(crate) eps: f64,
}

/// More blocks do not add up the rows of one sample.
const MAX_BLOCKS: i64 = 1024;

/// SiLU of the group norm of `[N, channels]`, whose first rows belong to the first sample, and so on. `None`: do it
/// otherwise.
pub(crate) fn group_norm_silu(
    x: &Tensor,
    lengths: &[i64],
    groups: i64,
    affine: Affine,
) -> Result<Option<Tensor>> {
    type Run = extern "C" fn(
        *const c_void,
        *const c_float,
        *const c_float,
        *mut c_void,
        *mut c_float,
        i64,
        c_int,
        c_int,
        c_float,
        c_int,
        *mut c_void,
    ) -> c_int;
    let Some(kernels) = Kernels::on(x.device()) else { return Ok(None) };
    let channels = x.size2()?.1;
    if channels % 8 != 0 || channels > 2048 || channels % groups != 0 || !fits(x, affine) {
        return Ok(None);
    }
    let out = x.f_empty_like()?;
    let scratch = Tensor::f_empty([2 * (channels + groups * MAX_BLOCKS)], (Kind::Float, x.device()))?;
    let (sources, results) = (x.f_split_with_sizes(lengths, 0)?, out.f_split_with_sizes(lengths, 0)?);
    for ((source, result), &rows) in sources.iter().zip(&results).zip(lengths) {
        // SAFETY: the type is that in norms.cu; the tensors live until their memory is used again on this stream.
        kernels.check(unsafe {
            kernels.function::<Run>("trellis_group_norm_silu")?(
                values(source),
                values(affine.weight),
                values(affine.bias),
                values_mut(result),
                values_mut(&scratch),
                rows,
                channels as c_int,
                groups as c_int,
                affine.eps as c_float,
                (x.kind() == Kind::Half).into(),
                stream(),
            )
        })?;
    }
    Ok(Some(out))
}

/// SiLU of the layer norm of `[.., channels]`. `None`: do it otherwise.
pub(crate) fn layer_norm_silu(x: &Tensor, affine: Affine) -> Result<Option<Tensor>> {
    type Run = extern "C" fn(
        *const c_void,
        *const c_float,
        *const c_float,
        *mut c_void,
        i64,
        c_int,
        c_float,
        c_int,
        *mut c_void,
    ) -> c_int;
    let Some(kernels) = Kernels::on(x.device()) else { return Ok(None) };
    let channels = affine.weight.size1()?;
    if !(32..=2048).contains(&channels) || channels.count_ones() != 1 || !fits(x, affine) {
        return Ok(None);
    }
    let out = x.f_empty_like()?;
    // SAFETY: the type is that in norms.cu; the tensors live until their memory is used again on this stream.
    kernels.check(unsafe {
        kernels.function::<Run>("trellis_layer_norm_silu")?(
            values(x),
            values(affine.weight),
            values(affine.bias),
            values_mut(&out),
            x.numel() as i64 / channels,
            channels as c_int,
            affine.eps as c_float,
            (x.kind() == Kind::Half).into(),
            stream(),
        )
    })?;
    Ok(Some(out))
}

fn fits(x: &Tensor, affine: Affine) -> bool {
    let kind = x.kind();
    x.numel() > 0
        && matches!(kind, Kind::Half | Kind::Float)
        && are_plain(kind, &[x])
        && are_plain(Kind::Float, &[affine.weight, affine.bias])
}
