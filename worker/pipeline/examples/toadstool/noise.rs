//! Smooth noise, always the same.

use crate::vector::Point;

/// -1 to 1, changing over distances of about one.
pub(crate) fn noise(point: Point) -> f32 {
    let cell = point.map(f32::floor);
    let corner = |steps: [i32; 3]| random(std::array::from_fn(|axis| cell[axis] as i32 + steps[axis]));
    let share: Point = std::array::from_fn(|axis| {
        let x = point[axis] - cell[axis];
        x * x * (3.0 - 2.0 * x)
    });
    let along = |from: f32, to: f32, axis: usize| from + (to - from) * share[axis];
    let edge = |y: i32, z: i32| along(corner([0, y, z]), corner([1, y, z]), 0);
    let side = |z: i32| along(edge(0, z), edge(1, z), 1);
    along(side(0), side(1), 2)
}

/// Noise with details down to an eighth of its size.
pub(crate) fn rough(point: Point) -> f32 {
    (0..4)
        .map(|octave| (1 << octave) as f32)
        .map(|scale| noise(point.map(|x| x * scale)) / scale)
        .sum::<f32>()
        / 1.6
}

/// -1 to 1, for a point of the grid.
pub(crate) fn random(cell: [i32; 3]) -> f32 {
    let mut state = cell.iter().fold(0x9e37_79b9_u32, |state, &x| {
        (state ^ x.cast_unsigned()).wrapping_mul(0x85eb_ca6b).rotate_left(13)
    });
    state = (state ^ state >> 15).wrapping_mul(0xc2b2_ae35);
    state ^= state >> 16;
    (state >> 8) as f32 / (1 << 23) as f32 - 1.0
}
