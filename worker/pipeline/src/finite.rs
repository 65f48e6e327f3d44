//! Whether numbers are numbers: checked where weights are loaded, and at the boundaries of stages.

use tch::Tensor;

use crate::{Error, Result};

/// Whether no number is infinite or none at all.
///
/// # Errors
/// When memory does not suffice.
pub(crate) fn is_finite(values: &Tensor) -> Result<bool> {
    if values.numel() == 0 {
        return Ok(true);
    }
    // The extremes take one pass, and are no numbers where any value is none.
    let (low, high) = values.f_aminmax(None, false)?;
    Ok(low.f_double_value(&[])?.is_finite() && high.f_double_value(&[])?.is_finite())
}

/// Refuses numbers that half precision could not hold or that damaged weights gave, before they become an object.
///
/// # Errors
/// [`Error::NotFinite`] by `what`.
pub(crate) fn check_finite(values: &Tensor, what: &'static str) -> Result<()> {
    if is_finite(values)? { Ok(()) } else { Err(Error::NotFinite(what)) }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn one_number_that_is_none_is_noticed_and_opposite_infinities_do_not_cancel() {
        for (values, expected) in [
            (&[0.0f32, -1.0, 65504.0][..], true),
            (&[], true),
            (&[1.0, f32::NAN], false),
            (&[f32::INFINITY, 1.0, f32::NEG_INFINITY], false),
        ] {
            for kind in [Kind::Float, Kind::Half] {
                assert_eq!(
                    is_finite(&Tensor::from_slice(values).to_kind(kind)).unwrap(),
                    expected,
                    "{values:?}"
                );
            }
        }
        let large = Tensor::full([1000], 3e38, (Kind::Float, tch::Device::Cpu));
        assert!(is_finite(&large).unwrap(), "only their sum is too large");
    }
}
