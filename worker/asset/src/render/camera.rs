//! Where the asset is seen from.

use rayon::prelude::*;

use super::View;
use crate::mesh::{cross, dot, minus};

const FIELD_OF_VIEW_DEGREES: f32 = 40.0;
/// The part of the picture that the asset spans.
const FILL: f32 = 0.9;
/// Directions in which the outermost point is looked for.
const DIRECTIONS: usize = 128;
const HALVINGS: usize = 24;

/// Distance and middle that bring an asset into the picture, for one view or for all of a turntable.
#[derive(Debug)]
pub(super) struct Frame {
    target: [f32; 3],
    distance: f32,
    /// By how much the middle of the asset's picture lies right of and above that of its box, as tangents.
    shift: [f32; 2],
}

impl Frame {
    /// The frame that all of it just fits into.
    pub(super) fn around(balls: &[Ball], views: &[View]) -> Self {
        let outermost = outermost(balls);
        let (target, radius) = bounds(&outermost);
        let turned: Vec<[f32; 3]> = views
            .iter()
            .map(Axes::of)
            .flat_map(|axes| outermost.iter().map(move |point| axes.turn(minus(*point, target))))
            .collect();
        let moving = views.len() > 1;
        let tangent = (FIELD_OF_VIEW_DEGREES.to_radians() / 2.0).tan() * FILL;
        // The farther away, the smaller: halve the range in which it just fits.
        let (mut near, mut far) = (radius * 1.05, radius * 100.0);
        for _ in 0..HALVINGS {
            let middle = f32::midpoint(near, far);
            if extent(&turned, middle, moving).1 > tangent { near = middle } else { far = middle }
        }
        Self { target, distance: far, shift: extent(&turned, far, moving).0 }
    }
}

/// Middle and half the longer side of what is seen from a distance, as tangents.
fn extent(points: &[[f32; 3]], distance: f32, moving: bool) -> ([f32; 2], f32) {
    let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    for [right, up, depth] in points {
        let depth = depth + distance;
        for (axis, tangent) in [right / depth, up / depth].into_iter().enumerate() {
            low[axis] = low[axis].min(tangent);
            high[axis] = high[axis].max(tangent);
        }
    }
    if moving {
        // What turns does so about the middle of the picture.
        high[0] = high[0].max(-low[0]);
        low[0] = -high[0];
    }
    let middle = [0, 1].map(|axis| f32::midpoint(low[axis], high[axis]));
    let half = (high[0] - low[0]).max(high[1] - low[1]) / 2.0;
    (middle, half)
}

/// Something to bring into the picture: a ball, or a point where its radius is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ball {
    pub(super) centre: [f32; 3],
    pub(super) radius: f32,
}

/// Of many directions the point that lies farthest that way: the corners of the asset, few enough to try distances with.
fn outermost(balls: &[Ball]) -> Vec<[f32; 3]> {
    let farthest = |index: usize| {
        let direction = direction(index);
        let reach = |ball: &Ball| dot(ball.centre, direction) + ball.radius;
        let first = balls.first().map(|ball| (reach(ball), *ball));
        let farther =
            |best: (f32, Ball), ball: &Ball| if reach(ball) > best.0 { (reach(ball), *ball) } else { best };
        let (_, ball) = balls.iter().skip(1).fold(first?, farther);
        Some(std::array::from_fn(|axis| ball.centre[axis] + ball.radius * direction[axis]))
    };
    (0..DIRECTIONS + 6).into_par_iter().filter_map(farthest).collect()
}

/// Spread evenly over the sphere (a Fibonacci spiral); the last six are the axes.
fn direction(index: usize) -> [f32; 3] {
    if let Some(axis) = index.checked_sub(DIRECTIONS) {
        let sign = if axis < 3 { 1.0 } else { -1.0 };
        return std::array::from_fn(|other| if other == axis % 3 { sign } else { 0.0 });
    }
    let z = 1.0 - (2 * index + 1) as f32 / DIRECTIONS as f32;
    let (sin, cos) = (index as f32 * std::f32::consts::PI * (3.0 - 5f32.sqrt())).sin_cos();
    let radius = (1.0 - z * z).sqrt();
    [radius * cos, radius * sin, z]
}

/// Middle and half the diagonal of the bounding box.
fn bounds(points: &[[f32; 3]]) -> ([f32; 3], f32) {
    let bound = |pick: fn(f32, f32) -> f32, start: f32| {
        points
            .iter()
            .fold([start; 3], |bound, point| std::array::from_fn(|axis| pick(bound[axis], point[axis])))
    };
    let (low, high) = (bound(f32::min, f32::INFINITY), bound(f32::max, f32::NEG_INFINITY));
    let diagonal = minus(high, low);
    let middle = std::array::from_fn(|axis| f32::midpoint(low[axis], high[axis]));
    (middle, (dot(diagonal, diagonal).sqrt() / 2.0).max(1e-6))
}

/// The directions of a view.
#[derive(Debug, Clone, Copy)]
struct Axes {
    right: [f32; 3],
    up: [f32; 3],
    forward: [f32; 3],
}

impl Axes {
    fn of(view: &View) -> Self {
        let (sin_yaw, cos_yaw) = view.azimuth.to_radians().sin_cos();
        let (sin_pitch, cos_pitch) = view.elevation.to_radians().sin_cos();
        let forward = [-sin_yaw * cos_pitch, cos_yaw * cos_pitch, -sin_pitch];
        let right = [cos_yaw, sin_yaw, 0.0];
        Self { right, up: cross(right, forward), forward }
    }

    fn turn(&self, vector: [f32; 3]) -> [f32; 3] {
        [dot(vector, self.right), dot(vector, self.up), dot(vector, self.forward)]
    }
}

/// A perspective camera.
#[derive(Debug)]
pub(super) struct Camera {
    axes: Axes,
    target: [f32; 3],
    distance: f32,
    /// Samples for a tangent of one.
    pub(super) focal: f32,
    /// Column and row of what lies straight ahead.
    centre: [f32; 2],
}

impl Camera {
    /// The camera of a view, for a square picture of `samples` on each side.
    pub(super) fn new(frame: &Frame, view: &View, samples: usize) -> Self {
        let half = samples as f32 / 2.0;
        let focal = half / (FIELD_OF_VIEW_DEGREES.to_radians() / 2.0).tan();
        let [right, up] = frame.shift;
        Self {
            axes: Axes::of(view),
            target: frame.target,
            distance: frame.distance,
            focal,
            centre: [half - focal * right, half + focal * up],
        }
    }

    /// Column, row and depth of a point; rows run downwards.
    pub(super) fn project(&self, point: [f32; 3]) -> [f32; 3] {
        let [right, up, depth] = self.see(point);
        [self.centre[0] + self.focal * right / depth, self.centre[1] - self.focal * up / depth, depth]
    }

    /// A point as the camera has it: to the right, up, and away.
    pub(super) fn see(&self, point: [f32; 3]) -> [f32; 3] {
        let [right, up, depth] = self.turn(minus(point, self.target));
        [right, up, depth + self.distance]
    }

    /// The direction in the model's frame of one as the camera has it.
    pub(super) fn turn_back(&self, [right, up, forward]: [f32; 3]) -> [f32; 3] {
        let Axes { right: x, up: y, forward: z } = self.axes;
        std::array::from_fn(|axis| right * x[axis] + up * y[axis] + forward * z[axis])
    }

    /// A direction as the camera has it.
    pub(super) fn turn(&self, vector: [f32; 3]) -> [f32; 3] {
        self.axes.turn(vector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_fits_the_picture_fills_it_and_is_not_mirrored() {
        let corner = |corner: u8| [corner & 1, corner >> 1 & 1, corner >> 2].map(|bit| f32::from(bit) * 3.0);
        let cube: Vec<Ball> = (0..8).map(|index| Ball { centre: corner(index), radius: 0.0 }).collect();
        for view in [View::default(), View { elevation: -80.0, azimuth: 200.0, ..View::default() }] {
            let camera = Camera::new(&Frame::around(&cube, &[view]), &view, 100);
            let projected: Vec<_> = cube.iter().map(|ball| camera.project(ball.centre)).collect();
            let bound = |axis: usize| {
                let values = projected.iter().map(move |place| place[axis]);
                (values.clone().fold(f32::INFINITY, f32::min), values.fold(0.0, f32::max))
            };
            let ((left, right), (top, bottom)) = (bound(0), bound(1));
            assert!((right - left).max(bottom - top) > 89.0 && left > 4.0 && top > 4.0, "{projected:?}");
            assert!(
                (left + right - 100.0).abs() < 1.0 && (top + bottom - 100.0).abs() < 1.0,
                "it is in the middle"
            );
        }
        let view = View::default();
        let camera = Camera::new(&Frame::around(&cube, &[view]), &view, 100);
        let projected: Vec<_> = cube.iter().map(|ball| camera.project(ball.centre)).collect();
        assert!(projected[1][0] > projected[0][0], "x runs to the right");
        assert!(projected[4][1] < projected[0][1], "z runs up");
        assert!(projected[0][2] < projected[2][2], "the front is at low y");
    }
}
