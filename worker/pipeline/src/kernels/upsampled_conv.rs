//! Convolution over copies of the voxels of a coarser grid, in f16.

use std::ffi::{c_int, c_void};

use tch::{Kind, Tensor};

use super::{Kernels, are_plain, stream, values, values_mut};
use crate::Result;

/// For each voxel, bias plus the products of its neighbours' parents, `[N, outputs]`. `products` `[M, 27, outputs]` are the
/// coarse values times the weights of each tap, `neighbours` is `[N, 27]` in i32 with N where there is none, `parent`
/// `[N]` in i64. `None`: do it otherwise.
pub(crate) fn add_products(
    products: &Tensor,
    neighbours: &Tensor,
    parent: &Tensor,
    bias: &Tensor,
) -> Result<Option<Tensor>> {
    type Run = extern "C" fn(
        *const c_void,
        *const c_int,
        *const i64,
        *const c_void,
        *mut c_void,
        i64,
        c_int,
        *mut c_void,
    ) -> c_int;
    let Some(kernels) = Kernels::on(products.device()) else { return Ok(None) };
    let (voxels, outputs) = (parent.size1()?, bias.size1()?);
    let fits = outputs % 8 == 0
        && voxels > 0
        && are_plain(Kind::Half, &[products, bias])
        && are_plain(Kind::Int, &[neighbours])
        && are_plain(Kind::Int64, &[parent]);
    if !fits {
        return Ok(None);
    }
    let out = Tensor::f_empty([voxels, outputs], (Kind::Half, products.device()))?;
    // SAFETY: the type is that in upsampled_conv.cu; the tensors live until their memory is used again on this stream.
    kernels.check(unsafe {
        kernels.function::<Run>("trellis_add_products")?(
            values(products),
            values(neighbours),
            values(parent),
            values(bias),
            values_mut(&out),
            voxels,
            outputs as c_int,
            stream(),
        )
    })?;
    Ok(Some(out))
}

/// Whether [`add_products`] is there for products of these values.
pub(crate) fn suits(feats: &Tensor) -> bool {
    feats.kind() == Kind::Half && Kernels::on(feats.device()).is_some()
}
