//! How neighbours of divided voxels follow from those of whole ones: along each axis, half d stepped by o is half
//! (d + o) mod 2 of the neighbour floor((d + o) / 2).

/// The 27 steps to a neighbour, in the order of a kernel's weights: x, then y, then z, from -1 to 1.
pub(super) fn steps() -> impl Iterator<Item = [i64; 3]> {
    (0..27).map(|index| [index / 9 - 1, index / 3 % 3 - 1, index % 3 - 1])
}

/// Where a step from a child leads: the neighbour of its parent, as one of the 27, and the child there. Children of a voxel
/// are numbered z fastest.
pub(super) fn step_from(child: i64, step: [i64; 3]) -> (i64, i32) {
    let moved: [i64; 3] = std::array::from_fn(|axis| (child >> (2 - axis) & 1) + step[axis]);
    let neighbour = moved.iter().fold(0, |index, half| 3 * index + half.div_euclid(2) + 1);
    (neighbour, moved.iter().fold(0, |index, half| 2 * index + half.rem_euclid(2) as i32))
}

/// The eight neighbours of the parent that a child's 27 steps lead to, and for each of them which steps do (1, else 0).
pub(super) fn seen_by(child: i64) -> ([i64; 8], [[f32; 27]; 8]) {
    let neighbours: Vec<i64> = steps().map(|step| step_from(child, step).0).collect();
    let mut distinct = neighbours.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let seen = std::array::from_fn(|index| distinct.get(index).copied().unwrap_or_default());
    let leads = |neighbour: i64, step: usize| f32::from(u8::from(neighbours.get(step) == Some(&neighbour)));
    (seen, seen.map(|neighbour| std::array::from_fn(|step| leads(neighbour, step))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_sees_eight_voxels_and_most_of_its_own() {
        for child in 0..8 {
            let (neighbours, taps) = seen_by(child);
            assert!(neighbours.is_sorted_by(|a, b| a < b), "{neighbours:?}");
            let counts = taps.map(|steps| steps.iter().sum::<f32>());
            assert_eq!(counts.iter().sum::<f32>(), 27.0);
            let own = neighbours.iter().position(|&neighbour| neighbour == 13).unwrap();
            assert_eq!(counts[own], 8.0);
        }
    }
}
