//! Absolute position embedding of voxel coordinates.

use tch::{Kind, Tensor};

use crate::Result;

/// Sines and cosines of each coordinate at `channels / 6` frequencies 10000^(-i/d); axes concatenated, the rest of the
/// channels zero. `coords` is `[N, 3]` of any kind; the result `[N, channels]` in f32 on the same device.
///
/// # Errors
/// When libtorch fails.
pub fn position_embedding(coords: &Tensor, channels: i64) -> Result<Tensor> {
    let frequencies = channels / 6;
    let exponents =
        Tensor::f_arange(frequencies, (Kind::Float, coords.device()))?.f_div_scalar(frequencies as f64)?;
    let frequency = Tensor::f_pow_scalar(10_000.0, &exponents)?.f_reciprocal()?;
    // [N, 3, 1] · [d]
    let phase = coords.f_to_kind(Kind::Float)?.f_unsqueeze(-1)?.f_mul(&frequency)?;
    let waves = Tensor::f_cat(&[phase.f_sin()?, phase.f_cos()?], -1)?.f_flatten(1, -1)?;
    Ok(waves.f_constant_pad_nd([0, channels - 6 * frequencies])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_do_not_divide_by_six_are_padded_with_zeros() {
        let embedding = position_embedding(&Tensor::from_slice(&[3i32, 0, 1]).reshape([1, 3]), 32).unwrap();
        assert_eq!(embedding.size(), [1, 32]);
        let row = Vec::<f32>::try_from(embedding.reshape([-1])).unwrap();
        assert_eq!(row[0], 3f32.sin());
        assert_eq!(row[5], 3f32.cos());
        assert_eq!(row[30..], [0.0, 0.0]);
    }
}
