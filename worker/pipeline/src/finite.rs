//! A check at the boundaries of stages.

use tch::Tensor;

use crate::{Error, Result};

/// Refuses numbers that half precision could not hold or that damaged weights gave, before they become an object.
pub(crate) fn check_finite(values: &Tensor, what: &str) -> Result<()> {
    if values.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0 {
        return Ok(());
    }
    Err(Error::Torch(format!(
        "{what} gave numbers that are not finite; compute in f32, or load the weights again"
    )))
}
