//! Which grid vertices lie inside, one bit each, so that crossings are found a word of vertices at a time.

use tch::{Kind, Tensor};

use crate::Result;

/// Bits of grid vertices, in columns along z.
#[derive(Debug)]
pub(super) struct Signs {
    /// Vertices on an axis.
    side: usize,
    words: usize,
    bits: Vec<u64>,
}

impl Signs {
    /// A grid with `side` vertices on each axis, of which those at `inside` `[K, 3]` lie inside. The bits are put together
    /// on the device: a bit for each vertex is quickly copied.
    pub(super) fn new(inside: &Tensor, side: usize) -> Result<Self> {
        let words = side.div_ceil(64);
        let (columns, column) = ((side * side) as i64, (words * 64) as i64);
        let strides =
            Tensor::f_from_slice(&[side as i64 * column, column, 1])?.f_to_device(inside.device())?;
        let places = inside.f_to_kind(Kind::Int64)?.f_mul(&strides)?;
        let places = places.f_sum_dim_intlist(&[1i64][..], false, Kind::Int64)?;
        let flags = Tensor::f_zeros([columns * column], (Kind::Uint8, inside.device()))?;
        let flags = flags.f_index_fill(0, &places, 1)?.f_view([-1, 8])?;
        let powers = Tensor::f_from_slice(&[1u8, 2, 4, 8, 16, 32, 64, 128])?.f_to_device(inside.device())?;
        let bytes = flags.f_mul(&powers)?.f_sum_dim_intlist(&[1i64][..], false, Kind::Uint8)?;
        let bytes = Vec::<u8>::try_from(bytes)?;
        let bits = bytes.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word)).collect();
        Ok(Self { side, words, bits })
    }

    /// The bits of the vertices (x, y, 0), (x, y, 1), …
    pub(super) fn column(&self, x: usize, y: usize) -> &[u64] {
        let column = (x * self.side + y) * self.words;
        &self.bits[column..column + self.words]
    }
}

/// Bit `z` of a column.
pub(super) fn bit(column: &[u64], z: usize) -> bool {
    column[z / 64] >> (z % 64) & 1 == 1
}

/// Word `index` of the column moved down by one: its bit z is the column's bit z + 1.
pub(super) fn above(column: impl Fn(usize) -> u64, index: usize, words: usize) -> u64 {
    let carry = if index + 1 < words { column(index + 1) << 63 } else { 0 };
    column(index) >> 1 | carry
}

/// The positions of the set bits of word `index` of a column.
pub(super) fn positions(mut word: u64, index: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let position = word.trailing_zeros() as usize;
        (word != 0).then(|| {
            word &= word - 1;
            index * 64 + position
        })
    })
}
