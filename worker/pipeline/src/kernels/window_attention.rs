//! Attention within windows, in f16.

use std::ffi::{c_int, c_void};

use tch::{Kind, Tensor};

use super::{Kernels, are_plain, stream, values, values_mut};
use crate::Result;

/// Channels of a head.
const WIDTH: i64 = 64;
/// Queries of a block of threads.
const TILE: usize = 64;

/// Windows as the kernel reads them.
#[derive(Debug)]
pub(crate) struct Tiles {
    /// The rows of all windows, one window after the other, in i32.
    rows: Tensor,
    /// `[tiles, 3]` in i32: where a window starts, its length, and the first of the tile's queries.
    tiles: Tensor,
}

impl Tiles {
    /// Windows of these lengths, of `rows` `[N]` in order.
    pub(crate) fn new(rows: &Tensor, lengths: &[usize]) -> Result<Self> {
        let mut tiles: Vec<i32> = vec![];
        let mut start = 0;
        for &length in lengths {
            tiles.extend((0..length).step_by(TILE).flat_map(|first| [start, length as i32, first as i32]));
            start += length as i32;
        }
        let tiles = Tensor::f_from_slice(&tiles)?.f_view([-1, 3])?.f_to_device(rows.device())?;
        Ok(Self { rows: rows.f_to_kind(Kind::Int)?, tiles })
    }
}

/// `q`, `k` and `v`, each `[N, heads, 64]`, to `[N, heads · 64]`. `None`: do it otherwise.
pub(crate) fn attend(qkv: &[Tensor; 3], windows: &Tiles) -> Result<Option<Tensor>> {
    type Run = extern "C" fn(
        *const c_void,
        *const c_void,
        *const c_void,
        *mut c_void,
        *const c_int,
        *const c_int,
        c_int,
        i64,
        c_int,
        *mut c_void,
    ) -> c_int;
    let [q, k, v] = qkv;
    let Some(kernels) = Kernels::on(q.device()) else { return Ok(None) };
    let (rows, heads, width) = q.size3()?;
    let strides = q.stride();
    let fits = width == WIDTH
        && strides[0] % 8 == 0
        && strides[1..] == [WIDTH, 1]
        && qkv.iter().all(|x| {
            x.kind() == Kind::Half && x.stride() == strides && (x.data_ptr() as usize).is_multiple_of(16)
        })
        && are_plain(Kind::Int, &[&windows.rows, &windows.tiles]);
    if !fits {
        return Ok(None);
    }
    let out = Tensor::f_empty([rows, heads * WIDTH], (Kind::Half, q.device()))?;
    // SAFETY: the type is that in window_attention.cu; the tensors live until their memory is used again on this stream.
    kernels.check(unsafe {
        kernels.function::<Run>("trellis_window_attention")?(
            values(q),
            values(k),
            values(v),
            values_mut(&out),
            values(&windows.rows),
            values(&windows.tiles),
            windows.tiles.size2()?.0 as c_int,
            strides[0],
            heads as c_int,
            stream(),
        )
    })?;
    Ok(Some(out))
}
