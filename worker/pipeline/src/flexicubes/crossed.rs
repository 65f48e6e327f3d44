//! The cubes that the surface passes through.

use rayon::prelude::*;

use super::cases::{CASES, Case};
use super::columns::Columns;
use super::field::Field;
use super::signs::{Signs, above, bit, positions};

/// A cube whose corners are not all on one side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cube {
    pub(super) coords: [u16; 3],
    /// Bit k: corner k is inside; inverted where the face to an ambiguous neighbour demands it.
    pub(super) case: u8,
}

impl Cube {
    pub(super) fn case(&self) -> &'static Case {
        &CASES[usize::from(self.case)]
    }

    /// The cube's lowest corner.
    pub(super) fn origin(&self) -> [usize; 3] {
        self.coords.map(usize::from)
    }
}

/// All crossed cubes in lexicographic order.
#[derive(Debug)]
pub(super) struct CrossedCubes {
    pub(super) cubes: Vec<Cube>,
    index: Columns,
}

impl CrossedCubes {
    pub(super) fn find(field: &Field) -> Self {
        let (signs, resolution) = (&field.signs, field.resolution);
        let slab =
            |x| (0..resolution).flat_map(move |y| in_column(signs, resolution, x, y)).collect::<Vec<_>>();
        let mut cubes: Vec<Cube> = (0..resolution).into_par_iter().flat_map_iter(slab).collect();
        let index = Columns::new(resolution, cubes.iter().map(|cube| cube.coords));
        let found = Self { index, cubes: cubes.clone() };
        cubes
            .par_iter_mut()
            .filter(|cube| found.meets_ambiguous(cube))
            .for_each(|cube| cube.case = !cube.case);
        Self { cubes, ..found }
    }

    pub(super) fn row(&self, coords: [usize; 3]) -> Option<usize> {
        self.index.row(coords)
    }

    /// Whether the cube is ambiguous and its neighbour across that face too.
    fn meets_ambiguous(&self, cube: &Cube) -> bool {
        let Some(step) = cube.case().ambiguous else { return false };
        let [x, y, z] =
            std::array::from_fn(|axis| usize::from(cube.coords[axis]).checked_add_signed(step[axis]));
        let neighbour = x.zip(y).zip(z).and_then(|((x, y), z)| self.row([x, y, z]));
        neighbour.is_some_and(|row| self.cubes[row].case().ambiguous.is_some())
    }
}

/// The crossed cubes (x, y, 0), (x, y, 1), …
fn in_column(signs: &Signs, resolution: usize, x: usize, y: usize) -> Vec<Cube> {
    let corners =
        [signs.column(x, y), signs.column(x + 1, y), signs.column(x, y + 1), signs.column(x + 1, y + 1)];
    let words = corners[0].len();
    let any = |word: usize| corners.iter().fold(0, |all, column| all | column[word]);
    let all = |word: usize| corners.iter().fold(!0, |all, column| all & column[word]);
    let crossed = |word| (any(word) | above(any, word, words)) & !(all(word) & above(all, word, words));
    let case = |z: usize| {
        (0..8).fold(0, |case, corner| case | u8::from(bit(corners[corner & 3], z + (corner >> 2))) << corner)
    };
    (0..words)
        .flat_map(|word| positions(crossed(word), word))
        .take_while(|&z| z < resolution)
        .map(|z| Cube { coords: [x as u16, y as u16, z as u16], case: case(z) })
        .collect()
}
