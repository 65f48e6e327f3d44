//! The toadstool: a house on a mound of grass, with a door, windows, a chimney, and two young ones beside it.

use std::f32::consts::PI;

use crate::noise::{noise, random, rough};
use crate::solid::{Solid, arch, ball, common, cone, cylinder, ellipsoid};
use crate::vector::{Point, minus, mix, plus, times};

const GRASS: Point = [0.36, 0.56, 0.20];
const DARK_GRASS: Point = [0.20, 0.40, 0.13];
const EARTH: Point = [0.36, 0.26, 0.18];
const STONE: Point = [0.62, 0.60, 0.57];
const STEM: Point = [0.95, 0.90, 0.78];
const GILLS: Point = [0.90, 0.80, 0.66];
const CAP: Point = [0.80, 0.10, 0.08];
const DARK_CAP: Point = [0.62, 0.05, 0.06];
const DOT: Point = [0.97, 0.95, 0.90];
const WOOD: Point = [0.52, 0.33, 0.18];
const DARK_WOOD: Point = [0.33, 0.20, 0.11];
const GOLD: Point = [0.93, 0.74, 0.28];
const WINDOW: Point = [1.00, 0.84, 0.46];
const BRICK: Point = [0.66, 0.36, 0.27];
const MORTAR: Point = [0.78, 0.72, 0.66];

/// The height of the mound's underside.
const BOTTOM: f32 = -0.48;

/// The whole, within [-½, ½]³: z up, the front towards -y.
pub(crate) fn solid(point: Point) -> Solid {
    let house = cap(point, 1.0).and(stem(point), 0.03);
    [
        within(point, [0.0, -0.2, -0.26], 0.20, || door(point)),
        within(point, [0.0, 0.0, -0.22], 0.26, || windows(point)),
        within(point, CHIMNEY, 0.15, || chimney(point)),
        stones(point),
        young(point),
        flowers(point),
    ]
    .into_iter()
    .fold(ground(point).and(house, 0.03), |all, part| all.and(part, 0.006))
}

/// The height of the mound's surface.
fn ground_height(x: f32, y: f32) -> f32 {
    let share = (1.0 - (x * x + y * y) / (0.47 * 0.47)).max(0.0);
    BOTTOM + 0.14 * share.sqrt()
}

fn ground(point: Point) -> Solid {
    let mound = ellipsoid(point, [0.0, 0.0, BOTTOM], [0.47, 0.47, 0.14]);
    if mound > FAR {
        return Solid::new(mound, GRASS);
    }
    let tufts = rough(times(point, 28.0));
    let grass = mix(GRASS, DARK_GRASS, (0.45 + 0.9 * tufts).clamp(0.0, 1.0));
    let shade = smooth(-0.470, -0.455, point[2] + 0.004 * tufts);
    Solid::new(common(mound - 0.004 * tufts, BOTTOM - point[2], 0.02), mix(EARTH, grass, shade))
}

fn stem(point: Point) -> Solid {
    let foot = common(off_stem(point), BOTTOM - point[2], 0.02);
    if foot.abs() > FAR {
        return Solid::new(foot, STEM);
    }
    let angle = point[1].atan2(point[0]);
    let streaks = noise([angle.cos() * 9.0, angle.sin() * 9.0, point[2] * 3.0]);
    let color = times(mix(STEM, GILLS, (0.35 + 0.6 * streaks).clamp(0.0, 1.0)), 1.0 - 0.06 * streaks);
    Solid::new(foot - 0.002 * streaks, color)
}

/// How far outside of the stem a place is; what is on the stem is a layer of it.
fn off_stem(point: Point) -> f32 {
    cone(point, ([0.0, 0.0, -0.38], 0.205), ([0.0, 0.0, -0.02], 0.15))
}

const CAP_MIDDLE: Point = [0.0, 0.0, -0.01];
const CAP_RADII: Point = [0.43, 0.43, 0.385];

/// The cap, its dots on it.
fn cap(point: Point, dots: f32) -> Solid {
    let outside = ellipsoid(point, CAP_MIDDLE, CAP_RADII);
    if outside > FAR {
        return Solid::new(outside, CAP);
    }
    let angle = point[1].atan2(point[0]);
    let gills = 0.004 * (angle * 44.0).sin() * smooth(0.17, 0.26, point[0].hypot(point[1]));
    let hollow = ellipsoid(point, [0.0, 0.0, -0.13], [0.40, 0.40, 0.15]) + gills;
    let dome = common(outside, CAP_MIDDLE[2] - 0.055 - point[2], 0.03);
    let distance = common(dome, -hollow, 0.035);
    let below = smooth(0.004, -0.010, outside + 0.012);
    let spots = 0.5 + 0.5 * rough(times(point, 7.0));
    let red = mix(CAP, DARK_CAP, spots);
    let ribs = mix(GILLS, times(GILLS, 0.8), 0.5 + 125.0 * gills);
    let all = Solid::new(distance, mix(red, ribs, below));
    if outside.abs() > FAR {
        return all;
    }
    let white = mix(DOT, STEM, 0.5 + 0.5 * noise(times(point, 40.0)));
    DOTS.iter().fold(all, |all, &(azimuth, elevation, size)| {
        let ball = ball(point, on_cap(azimuth, elevation), size * dots);
        all.and(Solid::new(common(ball, outside - 0.011, 0.012), white), 0.008)
    })
}

/// Azimuth from the front to the right, elevation, in degrees, and radius.
const DOTS: [(f32, f32, f32); 19] = [
    (5.0, 22.0, 0.062),
    (48.0, 12.0, 0.050),
    (35.0, 42.0, 0.070),
    (85.0, 30.0, 0.064),
    (75.0, 62.0, 0.056),
    (-32.0, 10.0, 0.046),
    (-30.0, 45.0, 0.066),
    (-72.0, 25.0, 0.060),
    (10.0, 70.0, 0.058),
    (118.0, 12.0, 0.048),
    (128.0, 44.0, 0.068),
    (160.0, 20.0, 0.060),
    (-160.0, 14.0, 0.050),
    (178.0, 58.0, 0.060),
    (-125.0, 10.0, 0.052),
    (-108.0, 42.0, 0.050),
    (26.0, 7.0, 0.034),
    (68.0, 3.0, 0.034),
    (-10.0, 2.0, 0.036),
];

fn on_cap(azimuth: f32, elevation: f32) -> Point {
    let ((sin, cos), (up, out)) = (azimuth.to_radians().sin_cos(), elevation.to_radians().sin_cos());
    plus(CAP_MIDDLE, [CAP_RADII[0] * sin * out, -CAP_RADII[1] * cos * out, CAP_RADII[2] * up])
}

/// In the stem's front: planks in a frame of stones, and a knob.
fn door(point: Point) -> Solid {
    let [x, y, z] = point;
    let off = off_stem(point);
    let outline = arch([x, z + 0.205], 0.072, 0.17).max(y);
    let plank = (x / 0.029 + 0.5).rem_euclid(1.0) - 0.5;
    let groove = smooth(0.42, 0.48, plank.abs());
    let grain = noise([x * 90.0, y * 90.0, z * 7.0]);
    let wood = mix(mix(WOOD, DARK_WOOD, 0.3 + 0.3 * grain), times(DARK_WOOD, 0.6), groove);
    let planks = Solid::new(common(outline, off - 0.008 + 0.004 * groove, 0.004), wood);
    let angle = x.atan2((z + 0.205).max(0.0));
    let joint = if z > -0.205 { angle / PI * 9.0 } else { (z + 0.205) / 0.042 };
    let gap = smooth(0.40, 0.48, ((joint + 0.5).rem_euclid(1.0) - 0.5).abs());
    let tone = 0.12 * random([(joint + 0.5).floor() as i32, i32::from(x > 0.0), 7]);
    let frame = common(outline.abs() - 0.016, off - 0.024 + 0.006 * gap, 0.008).max(y);
    let stone = mix(times(STONE, 1.0 + tone), times(STONE, 0.55), gap);
    let knob = ball(point, [0.045, -0.212, -0.285], 0.0125);
    planks.and(Solid::new(frame, stone), 0.003).and(Solid::new(knob, GOLD), 0.002)
}

/// Round ones, with a light behind them.
fn windows(point: Point) -> Solid {
    let window = |azimuth: f32, height: f32| {
        let (sin, cos) = azimuth.to_radians().sin_cos();
        let right = point[0] * cos + point[1] * sin;
        let front = point[0] * sin - point[1] * cos;
        let up = point[2] - height;
        let disc = (right.hypot(up) - 0.044).max(-front);
        let off = off_stem(point);
        let glass = Solid::new(common(disc, off - 0.004, 0.004), WINDOW);
        let bars = (right.abs().min(up.abs()) - 0.0055).max(disc);
        let frame = bars.min(disc.abs() - 0.0105).max(-front);
        let grain = noise(times(point, 60.0));
        glass.and(
            Solid::new(common(frame, off - 0.016, 0.005), mix(WOOD, DARK_WOOD, 0.5 + 0.4 * grain)),
            0.002,
        )
    };
    window(64.0, -0.215).and(window(-70.0, -0.235), 0.002).and(window(175.0, -0.22), 0.002)
}

/// The middle of the chimney, on the left of the cap.
const CHIMNEY: Point = [-0.20, 0.06, 0.33];

/// Of bricks.
fn chimney(point: Point) -> Solid {
    let middle = CHIMNEY;
    let [x, y, z] = minus(point, middle);
    let row = (z / 0.026).floor();
    let around = y.atan2(x) / (2.0 * PI) * 8.0 + 0.5 * row;
    let seam = |at: f32, width: f32| {
        smooth(0.5 - width, 0.5 - width * 0.5, ((at + 0.5).rem_euclid(1.0) - 0.5).abs())
    };
    let gap = seam(z / 0.026 + 0.5, 0.16).max(seam(around, 0.10));
    let tone = 1.0 + 0.16 * random([around.round() as i32 & 7, row as i32, 3]);
    let color = mix(times(BRICK, tone), MORTAR, gap);
    let tube = common(
        cylinder(point, middle, 0.056, 0.105),
        -cylinder(point, plus(middle, [0.0, 0.0, 0.1]), 0.034, 0.1),
        0.004,
    );
    let bricks =
        Solid::new(tube + 0.003 * gap, mix(color, times(DARK_WOOD, 0.5), smooth(0.040, 0.034, x.hypot(y))));
    let rim = (x.hypot(y) - 0.054).hypot(z - 0.1) - 0.013;
    bricks.and(Solid::new(rim, times(STONE, 0.95 + 0.1 * noise(times(point, 50.0)))), 0.004)
}

/// Steps to the door, and pebbles.
fn stones(point: Point) -> Solid {
    let stone = |(x, y, radius): (f32, f32, f32)| {
        let middle = [x, y, ground_height(x, y)];
        within(point, middle, radius, || {
            let bump = 0.10 * rough(times(point, 16.0));
            let flat = ellipsoid(point, middle, [radius, radius * 0.8, 0.022]) - radius * bump;
            let tone = 0.95 + 0.1 * random([(x * 1e3) as i32, (y * 1e3) as i32, 0]) + bump;
            Solid::new(flat, times(STONE, tone))
        })
    };
    let steps = [(0.0, -0.255, 0.062), (0.035, -0.335, 0.048), (0.0, -0.405, 0.040)];
    let pebbles = [
        (-0.16, -0.30, 0.026),
        (-0.19, -0.27, 0.018),
        (0.16, 0.34, 0.032),
        (-0.30, 0.22, 0.028),
        (0.36, -0.17, 0.020),
    ];
    steps.into_iter().chain(pebbles).map(stone).fold(NOTHING, |all, one| all.and(one, 0.002))
}

const NOTHING: Solid = Solid { distance: 1.0, color: [0.0; 3] };

/// A part, or, far outside of the ball around it, the distance of that: most places are far from most parts.
fn within(point: Point, centre: Point, radius: f32, part: impl FnOnce() -> Solid) -> Solid {
    let distance = ball(point, centre, radius);
    if distance > FAR { Solid { distance, ..NOTHING } } else { part() }
}

/// More than any fillet.
const FAR: f32 = 0.04;

/// Young ones: the same cap, smaller.
fn young(point: Point) -> Solid {
    let one = |x: f32, y: f32, scale: f32, lean: f32| {
        let foot = [x, y, ground_height(x, y) - 0.01];
        let top = plus(foot, [lean, 0.0, 0.46 * scale]);
        let place = times(minus(point, plus(top, [0.0, 0.0, -0.02 * scale])), 1.0 / scale);
        let mut cap = cap(place, 1.2);
        cap.distance *= scale;
        let stem = cone(point, (foot, 0.13 * scale), (top, 0.08 * scale));
        cap.and(Solid::new(stem, mix(STEM, GILLS, 0.3)), 0.008)
    };
    let one = |x, y, scale, lean| {
        let middle = [x, y, ground_height(x, y) + 0.35 * scale];
        within(point, middle, 0.7 * scale, || one(x, y, scale, lean))
    };
    [
        one(0.30, -0.16, 0.24, 0.015),
        one(0.245, -0.27, 0.15, -0.01),
        one(-0.27, 0.20, 0.26, -0.02),
        one(-0.31, -0.10, 0.17, -0.015),
    ]
    .into_iter()
    .fold(NOTHING, |all, one| all.and(one, 0.002))
}

/// Daisies in the grass.
fn flowers(point: Point) -> Solid {
    let flower = |(x, y): (f32, f32)| {
        let middle = [x, y, ground_height(x, y) + 0.012];
        within(point, middle, 0.024, || {
            let [right, away, up] = minus(point, middle);
            let petals = 0.8 + 0.2 * (away.atan2(right) * 6.0).cos();
            let bloom = ellipsoid(point, middle, [0.024 * petals, 0.024 * petals, 0.007]);
            let white = Solid::new(bloom, [0.97, 0.96, 0.98]);
            let eye = ball([right, away, up], [0.0, 0.0, 0.004], 0.009);
            white.and(Solid::new(eye, GOLD), 0.001)
        })
    };
    let places = [
        (-0.12, -0.37),
        (-0.23, -0.20),
        (0.20, -0.20),
        (0.13, -0.36),
        (0.35, 0.02),
        (0.31, 0.17),
        (-0.36, 0.06),
        (-0.16, 0.34),
        (0.04, 0.39),
    ];
    places.into_iter().map(flower).fold(NOTHING, |all, one| all.and(one, 0.001))
}

/// 0 at `from`, 1 at `to`, without a corner.
fn smooth(from: f32, to: f32, at: f32) -> f32 {
    let share = ((at - from) / (to - from)).clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}
