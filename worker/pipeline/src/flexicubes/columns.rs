//! Rows of grid points by coordinate.

/// Sorted grid points, found by binary search within their column of equal (x, y): columns are short, so this is both
/// small and fast.
#[derive(Debug, Default)]
pub(super) struct Columns {
    side: usize,
    /// The first row of each column, and the number of rows.
    starts: Vec<usize>,
    z: Vec<u16>,
}

impl Columns {
    /// Points of a grid with `side` points on each axis, in lexicographic order without duplicates.
    pub(super) fn new(side: usize, points: impl Iterator<Item = [u16; 3]>) -> Self {
        let mut starts = vec![0; side * side + 1];
        let mut z = vec![];
        for [px, py, pz] in points {
            starts[usize::from(px) * side + usize::from(py) + 1] += 1;
            z.push(pz);
        }
        let mut rows = 0;
        for start in &mut starts {
            rows += *start;
            *start = rows;
        }
        Self { side, starts, z }
    }

    /// The row of a point, if it is there.
    pub(super) fn row(&self, [x, y, z]: [usize; 3]) -> Option<usize> {
        let column = x * self.side + y;
        let (start, end) = (*self.starts.get(column)?, *self.starts.get(column + 1)?);
        let z = u16::try_from(z).ok()?;
        self.z.get(start..end)?.binary_search(&z).ok().map(|offset| start + offset)
    }
}
