//! Rows that belong together.

use tch::{Kind, Tensor};

use crate::Result;

/// Rows grouped by a key.
#[derive(Debug)]
pub struct Groups {
    keys: Tensor,
    group_of_row: Tensor,
    members: Tensor,
    counts: Tensor,
}

impl Groups {
    /// Groups rows by `keys` `[N]` in i64, of which no more than `largest` are equal.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn by_key(keys: &Tensor, largest: i64) -> Result<Self> {
        let rows = keys.size1()?;
        let (sorted, order) = keys.f_sort_stable(true, 0, false)?;
        let (keys, sorted_groups, counts) = sorted.f_unique_consecutive(true, true, 0)?;
        let group_of_row = sorted_groups.f_zeros_like()?.f_index_copy(0, &order, &sorted_groups)?;
        let first = counts.f_cumsum(0, None)?.f_sub(&counts)?.f_unsqueeze(1)?;
        let place = Tensor::f_arange(largest, (Kind::Int64, keys.device()))?;
        let absent = place.f_unsqueeze(0)?.f_ge_tensor(&counts.f_unsqueeze(1)?)?;
        let place = first.f_add(&place)?.f_clamp_max(rows - 1)?.f_flatten(0, 1)?;
        let members = order.f_index_select(0, &place)?.f_view([-1, largest])?.f_masked_fill(&absent, rows)?;
        Ok(Self { keys, group_of_row, members, counts })
    }

    /// The key of each group, ascending.
    pub fn keys(&self) -> &Tensor {
        &self.keys
    }

    /// The group that each row is in, `[N]`.
    pub fn group_of_row(&self) -> &Tensor {
        &self.group_of_row
    }

    /// Rows in each group, `[G]`.
    pub fn counts(&self) -> &Tensor {
        &self.counts
    }

    /// Sums `values` `[N, C]` over each group in f32: `[G, C]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn sum(&self, values: &Tensor) -> Result<Tensor> {
        let padded = with_zero_row(&values.f_to_kind(Kind::Float)?)?;
        let groups = self.keys.size1()?;
        let mut sum = Tensor::f_zeros([groups, values.size2()?.1], (Kind::Float, values.device()))?;
        for members in self.members.f_unbind(1)? {
            sum = sum.f_add_(&padded.f_index_select(0, &members)?)?;
        }
        Ok(sum)
    }
}

/// `[N + 1, ..]`: what the row N, which stands for an absent row, is gathered from.
pub(super) fn with_zero_row(values: &Tensor) -> Result<Tensor> {
    let mut shape = values.size();
    if let Some(rows) = shape.first_mut() {
        *rows = 1;
    }
    Ok(Tensor::f_cat(&[values, &Tensor::f_zeros(shape, (values.f_kind()?, values.device()))?], 0)?)
}
