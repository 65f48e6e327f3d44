//! Solids as signed distances (after Quilez, "Distance functions", <https://iquilezles.org/articles/distfunctions>), and what is put together of them.

use crate::vector::{Point, dot, length, minus, mix};

/// What a formula says of a place: how far outside of the surface it is, and the sRGB colour of the nearest part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Solid {
    pub(crate) distance: f32,
    pub(crate) color: Point,
}

impl Solid {
    pub(crate) fn new(distance: f32, color: Point) -> Self {
        Self { distance, color }
    }

    /// Both, with a fillet of this size between them. Colours change over an eighth of it.
    pub(crate) fn and(self, other: Self, fillet: f32) -> Self {
        let share = (0.5 + 0.5 * (self.distance - other.distance) / fillet).clamp(0.0, 1.0);
        let distance =
            self.distance + (other.distance - self.distance) * share - fillet * share * (1.0 - share);
        let color = mix(self.color, other.color, ((share - 0.5) * 8.0 + 0.5).clamp(0.0, 1.0));
        Self { distance, color }
    }
}

pub(crate) fn ball(point: Point, centre: Point, radius: f32) -> f32 {
    length(minus(point, centre)) - radius
}

/// Exact at the surface, an estimate elsewhere.
pub(crate) fn ellipsoid(point: Point, centre: Point, radii: Point) -> f32 {
    let from = minus(point, centre);
    let scaled = |power: i32| length(std::array::from_fn(|axis| from[axis] / radii[axis].powi(power)));
    let (near, steep) = (scaled(1), scaled(2));
    if steep > 0.0 { near * (near - 1.0) / steep } else { -radii.iter().fold(f32::MAX, |a, &b| a.min(b)) }
}

/// Between two balls.
pub(crate) fn cone(point: Point, from: (Point, f32), to: (Point, f32)) -> f32 {
    let axis = minus(to.0, from.0);
    let way = minus(point, from.0);
    let share = (dot(way, axis) / dot(axis, axis)).clamp(0.0, 1.0);
    length(minus(way, axis.map(|x| x * share))) - (from.1 + (to.1 - from.1) * share)
}

/// An upright cylinder with its middle at `centre`.
pub(crate) fn cylinder(point: Point, centre: Point, radius: f32, half_height: f32) -> f32 {
    let [x, y, z] = minus(point, centre);
    let (side, end) = (x.hypot(y) - radius, z.abs() - half_height);
    side.max(end).min(0.0) + side.max(0.0).hypot(end.max(0.0))
}

/// An arch in the plane: a rectangle with half a disc on top, whose middle is the origin.
pub(crate) fn arch([x, z]: [f32; 2], radius: f32, height: f32) -> f32 {
    if z > 0.0 {
        return x.hypot(z) - radius;
    }
    let (side, end) = (x.abs() - radius, -z - height);
    side.max(end).min(0.0) + side.max(0.0).hypot(end.max(0.0))
}

/// What two have in common, its edge rounded by a fillet.
pub(crate) fn common(a: f32, b: f32, fillet: f32) -> f32 {
    let share = (0.5 - 0.5 * (b - a) / fillet).clamp(0.0, 1.0);
    b + (a - b) * share + fillet * share * (1.0 - share)
}
