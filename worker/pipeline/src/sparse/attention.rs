//! Attention within windows.

use tch::Tensor;

use super::groups::with_zero_row;
use super::windows::Batch;
use super::{SparseTensor, Windows};
use crate::Result;
use crate::kernels::window_attention;
use crate::nn::SelfAttention;

/// Self-attention among the voxels of each window.
///
/// # Errors
/// When libtorch fails.
pub fn windowed_attention(
    layer: &SelfAttention,
    x: &SparseTensor,
    windows: &Windows,
) -> Result<SparseTensor> {
    let qkv = layer.project(x.feats())?;
    if let Some(mixed) = window_attention::attend(&qkv, windows.tiles())? {
        return x.with(layer.output(&mixed)?);
    }
    let [q, k, v] = qkv;
    let padded = [with_zero_row(&q)?, with_zero_row(&k)?, with_zero_row(&v)?];
    let windows = windows.padded()?;
    let mixed: Vec<Tensor> =
        windows.batches.iter().map(|batch| attend(&padded, batch)).collect::<Result<_>>()?;
    let mixed = Tensor::f_cat(&mixed, 0)?.f_index_select(0, &windows.place)?;
    x.with(layer.output(&mixed)?)
}

/// `[N + 1, heads, d]` each to `[windows · voxels, heads · d]`.
fn attend(qkv: &[Tensor; 3], batch: &Batch) -> Result<Tensor> {
    let (windows, voxels) = batch.rows.size2()?;
    let rows = batch.rows.f_flatten(0, 1)?;
    let gather =
        |x: &Tensor| x.f_index_select(0, &rows)?.f_unflatten(0, [windows, voxels])?.f_transpose(1, 2);
    let [q, k, v] = qkv;
    let (q, k, v) = (gather(q)?, gather(k)?, gather(v)?);
    let mask = batch.mask.as_ref();
    let mixed = Tensor::f_scaled_dot_product_attention(&q, &k, &v, mask, 0.0, false, None, false)?;
    Ok(mixed.f_transpose(1, 2)?.f_flatten(2, 3)?.f_flatten(0, 1)?)
}
