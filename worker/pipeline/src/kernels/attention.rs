//! Heads of attention among rows some of which are padding, in f16.

use std::ffi::{c_float, c_int, c_void};
use std::ptr::null;

use tch::{Kind, Tensor};

use super::{Kernels, are_plain, stream, values, values_mut};
use crate::Result;

/// Numbers that a query and a key are longer for the mask: what tensor cores take at a time.
pub(crate) const MASK: i64 = 16;
/// What a row of padding adds to each product of its key with a query: no number in f16 comes near it, and the exponential of what
/// it leaves is zero.
pub(crate) const FAR_BELOW: f64 = -60_000.0;

/// Queries and keys of `qkv` `[N, 3, heads, d]`, each divided by its length and multiplied by `scale` `[2, heads, d]` in f32 if there is
/// one: `[N, 2, heads, d + MASK]`. The first number more is 1 in a query; in a key it is 0, and [`FAR_BELOW`] where `padding` `[n]` in i32 is
/// 1 for the row's remainder by n. Values of those rows become 0 in place. `None`: nothing was done; do it otherwise.
pub(crate) fn masked_heads(qkv: &Tensor, scale: Option<&Tensor>, padding: &Tensor) -> Result<Option<Tensor>> {
    type Run = extern "C" fn(
        *mut c_void,
        *const c_float,
        *const c_int,
        *mut c_void,
        i64,
        i64,
        c_int,
        c_int,
        *mut c_void,
    ) -> c_int;
    let Some(kernels) = Kernels::on(qkv.device()) else { return Ok(None) };
    let (rows, _, heads, width) = qkv.size4()?;
    let fits = are_plain(Kind::Half, &[qkv])
        && rows > 0
        && (8..=128 - MASK).contains(&width)
        && width % 8 == 0
        && are_plain(Kind::Int, &[padding])
        && rows % padding.numel() as i64 == 0
        && scale.is_none_or(|scale| are_plain(Kind::Float, &[scale]) && scale.size() == [2, heads, width]);
    if !fits {
        return Ok(None);
    }
    let out = Tensor::f_empty([rows, 2, heads, width + MASK], (Kind::Half, qkv.device()))?;
    // SAFETY: the type is that in attention.cu; the tensors live until their memory is used again on this stream.
    kernels.check(unsafe {
        kernels.function::<Run>("trellis_masked_heads")?(
            values_mut(qkv),
            scale.map_or(null(), values),
            values(padding),
            values_mut(&out),
            rows,
            padding.numel() as i64,
            heads as c_int,
            width as c_int,
            stream(),
        )
    })?;
    Ok(Some(out))
}
