//! A check at the boundaries of stages.

use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Refuses numbers that half precision could not hold or that damaged weights gave, before they become an object.
///
/// # Errors
/// [`Error::NotFinite`] by `what`.
pub(crate) fn check_finite(values: &Tensor, what: &'static str) -> Result<()> {
    // A sum is finite only if all its terms are, and takes one pass over them.
    if values.f_sum(Kind::Float)?.f_double_value(&[])?.is_finite() {
        return Ok(());
    }
    Err(Error::NotFinite(what))
}
