//! Convolution of a dense grid to one channel, in f32.

use std::ffi::{c_float, c_int, c_void};

use tch::{Kind, Tensor};

use super::{Kernels, are_plain, stream, values, values_mut};
use crate::Result;

/// `x` `[B, s, s, s, channels]` with `weight` `[1, 3, 3, 3, channels]` to `[B, 1, s, s, s]`. `None`: do it otherwise.
pub(crate) fn convolve_to_one(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Option<Tensor>> {
    type Run = extern "C" fn(
        *const c_float,
        *const c_float,
        *const c_float,
        *mut c_float,
        i64,
        c_int,
        c_int,
        *mut c_void,
    ) -> c_int;
    let Some(kernels) = Kernels::on(x.device()) else { return Ok(None) };
    let (batch, side, y, z, channels) = x.size5()?;
    let is_cube = side == y && side == z && x.numel() > 0;
    if !is_cube || ![8, 16, 32, 64, 128].contains(&channels) || !are_plain(Kind::Float, &[x, weight, bias]) {
        return Ok(None);
    }
    let out = Tensor::f_empty([batch, 1, side, side, side], (Kind::Float, x.device()))?;
    // SAFETY: the type is that in dense_conv.cu; the tensors live until their memory is used again on this stream.
    kernels.check(unsafe {
        kernels.function::<Run>("trellis_convolve_to_one")?(
            values(x),
            values(weight),
            values(bias),
            values_mut(&out),
            out.numel() as i64,
            side as c_int,
            channels as c_int,
            stream(),
        )
    })?;
    Ok(Some(out))
}
