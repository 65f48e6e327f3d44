//! Which grid vertices lie inside, one bit each, so that crossings are found a word of vertices at a time.

/// Bits of grid vertices, in columns along z.
#[derive(Debug)]
pub(super) struct Signs {
    /// Vertices on an axis.
    side: usize,
    words: usize,
    bits: Vec<u64>,
}

impl Signs {
    /// All vertices of a grid with `side` of them on each axis are outside.
    pub(super) fn outside(side: usize) -> Self {
        let words = side.div_ceil(64);
        Self { side, words, bits: vec![0; side * side * words] }
    }

    /// Notes that a vertex lies inside.
    pub(super) fn set_inside(&mut self, [x, y, z]: [usize; 3]) {
        let column = (x * self.side + y) * self.words;
        self.bits[column + z / 64] |= 1 << (z % 64);
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
