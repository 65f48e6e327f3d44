//! The 256 sign patterns of a cube and the dual vertices each has.
//!
//! Derived here from the rules of dual marching cubes (Nielson, "Dual Marching Cubes", 2004) instead of stored: where a
//! face is crossed four times, the inside corners are kept apart; crossings that the faces link are one patch, and each
//! patch has one dual vertex.

use std::sync::LazyLock;

/// The corners that each edge joins. Corner k lies at (k & 1, k >> 1 & 1, k >> 2 & 1) of its cube. Edges along y run
/// from the upper to the lower end: which end comes first decides the order of faces.
pub(super) const EDGES: [[usize; 2]; 12] =
    [[0, 1], [1, 5], [4, 5], [0, 4], [2, 3], [3, 7], [6, 7], [2, 6], [2, 0], [3, 1], [7, 5], [6, 4]];

/// The six faces: the corners of each as a bit set, and the step to the cube beyond.
const FACES: [(u8, [isize; 3]); 6] = [
    (0b0101_0101, [-1, 0, 0]),
    (0b1010_1010, [1, 0, 0]),
    (0b0011_0011, [0, -1, 0]),
    (0b1100_1100, [0, 1, 0]),
    (0b0000_1111, [0, 0, -1]),
    (0b1111_0000, [0, 0, 1]),
];

/// What a sign pattern means for its cube.
#[derive(Debug)]
pub(super) struct Case {
    /// One bit set of crossed edges for each dual vertex, in the order of the vertices.
    pub(super) patches: Vec<u16>,
    /// The step across the face whose four crossings are of one patch, if there is one. Were the neighbour the same
    /// there, one edge would have four faces; then both cubes take the inverse case (Nielson's C16 and C19).
    pub(super) ambiguous: Option<[isize; 3]>,
}

impl Case {
    /// The position of the dual vertex whose patch holds `edge`.
    pub(super) fn patch_of(&self, edge: usize) -> usize {
        self.patches.iter().position(|patch| patch >> edge & 1 == 1).unwrap_or_default()
    }

    fn derive(inside: u8) -> Self {
        let mut patches: Vec<u16> =
            (0..12).filter(|&edge| is_crossed(inside, edge)).map(|edge| 1 << edge).collect();
        for segment in FACES.iter().flat_map(|&(face, _)| segments(inside, face)) {
            let (linked, mut others): (Vec<_>, Vec<_>) =
                patches.into_iter().partition(|patch| patch & segment != 0);
            others.push(linked.into_iter().fold(0, |all, patch| all | patch));
            patches = others;
        }
        patches.sort_by_key(|&patch| rank(inside, patch));
        let ambiguous = FACES.iter().find(|&&(face, _)| {
            let crossed = crossed_on(inside, face);
            crossed.count_ones() == 4 && patches.iter().any(|patch| patch & crossed == crossed)
        });
        Self { ambiguous: ambiguous.map(|&(_, step)| step), patches }
    }
}

/// The case of each bit set of inside corners.
pub(super) static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| (0..=u8::MAX).map(Case::derive).collect());

/// The cases as numbers for the kernels, six for each: how many dual vertices it has; the face whose neighbour decides, as
/// the axis times two and one more for the upper, or -1; the crossed edges of each vertex.
pub(super) fn table() -> Vec<i32> {
    let face_of = |step: [isize; 3]| FACES.iter().position(|&(_, towards)| towards == step);
    let entry = |case: &Case| {
        let face = case.ambiguous.and_then(face_of).map_or(-1, |face| face as i32);
        let patch = |index: usize| case.patches.get(index).map_or(0, |&patch| i32::from(patch));
        [case.patches.len() as i32, face, patch(0), patch(1), patch(2), patch(3)]
    };
    CASES.iter().flat_map(entry).collect()
}

/// The edges in a bit set, ascending.
pub(super) fn edges_of(patch: u16) -> impl Iterator<Item = usize> {
    (0..12).filter(move |edge| patch >> edge & 1 == 1)
}

/// The number of the edge that joins two corners.
pub(super) fn edge_between(a: usize, b: usize) -> usize {
    EDGES.iter().position(|&edge| edge == [a, b]).unwrap_or_default()
}

fn ends(edge: usize) -> u8 {
    let [a, b] = EDGES[edge];
    1 << a | 1 << b
}

fn is_crossed(inside: u8, edge: usize) -> bool {
    (inside & ends(edge)).count_ones() == 1
}

fn crossed_on(inside: u8, face: u8) -> u16 {
    let on_face = |&edge: &usize| ends(edge) & !face == 0 && is_crossed(inside, edge);
    (0..12).filter(on_face).fold(0, |all, edge| all | 1 << edge)
}

/// The pairs of crossings that the surface links on a face.
fn segments(inside: u8, face: u8) -> Vec<u16> {
    let crossed = crossed_on(inside, face);
    match crossed.count_ones() {
        0 => vec![],
        4 => (0..8)
            .filter(|corner| inside & face & 1 << corner != 0)
            .map(|corner| {
                edges_of(crossed)
                    .filter(|&edge| ends(edge) & 1 << corner != 0)
                    .fold(0, |all, edge| all | 1 << edge)
            })
            .collect(),
        _ => vec![crossed],
    }
}

/// Patches come in the order of the lowest corner of the inside part that they bound, then of their lowest outside corner.
fn rank(inside: u8, patch: u16) -> (u32, u32) {
    let touched = edges_of(patch).fold(0, |all, edge| all | ends(edge));
    let mut part = touched & inside;
    for _ in 0..8 {
        let reached = (0..12).filter(|&edge| ends(edge) & !inside == 0 && ends(edge) & part != 0);
        part = reached.fold(part, |all, edge| all | ends(edge));
    }
    (part.trailing_zeros(), (touched & !inside).trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crossed_edge_is_in_one_patch() {
        for (inside, case) in (0..=u8::MAX).zip(CASES.iter()) {
            assert!(case.patches.len() <= 4, "{inside}");
            for edge in 0..12 {
                let holders = case.patches.iter().filter(|&patch| patch >> edge & 1 == 1).count();
                assert_eq!(holders, usize::from(is_crossed(inside, edge)), "case {inside} edge {edge}");
            }
        }
    }

    #[test]
    fn the_ambiguous_cases_are_those_of_the_literature() {
        assert_eq!(CASES.iter().filter(|case| case.ambiguous.is_some()).count(), 36);
        // Opposite corners of the lower face: inside they are two patches, outside one that the face divides.
        assert_eq!(CASES[0b0000_1001].patches.len(), 2);
        assert_eq!(CASES[0b0000_1001].ambiguous, None);
        assert_eq!(CASES[0b1111_0110].ambiguous, Some([0, 0, -1]));
    }
}
