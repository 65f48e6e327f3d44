//! Gaussians to pixels (Zwicker et al., "EWA Splatting", 2002): each is projected to a Gaussian of the picture, and they cover each other from front to
//! back.

use rayon::prelude::*;

use super::camera::{Ball, Camera};
use crate::Gaussians;
use crate::gaussians::Turn;

/// Pixels a side that one thread draws at once.
const TILE: usize = 16;
/// Variance in pixels² that is added, so that none falls between pixels.
const BLUR: f32 = 0.1;
/// What changes no byte of a pixel.
const FAINTEST: f32 = 1.0 / 255.0;
/// Less light than this behind what is in front is not looked for.
const DARK: f32 = 1e-3;
/// The opacity from which one counts for where the asset ends.
const SOLID: f32 = 0.1;
/// Standard deviations beyond which one is not worth room in the picture.
const SIGMAS: f32 = 2.0;

/// Gaussians with what does not depend on the view.
pub(super) struct Cloud<'a> {
    gaussians: &'a Gaussians,
    /// Of each its own axes, as long as its standard deviations.
    axes: Vec<[[f32; 3]; 3]>,
    colors: Vec<[f32; 3]>,
}

/// One in the picture.
#[derive(Clone, Copy)]
struct Splat {
    index: u32,
    depth: f32,
    centre: [f32; 2],
    /// The inverse of its covariance: xx, xy, yy.
    inverse: [f32; 3],
    opacity: f32,
    /// Half the sides of the box outside of which it is too faint.
    reach: [f32; 2],
}

impl<'a> Cloud<'a> {
    pub(super) fn new(gaussians: &'a Gaussians) -> Self {
        let axes = |(rotation, scales): (&[f32; 4], &[f32; 3])| {
            let matrix = Turn::None.matrix(*rotation);
            std::array::from_fn(|axis| matrix.map(|row| row[axis] as f32 * scales[axis]))
        };
        Self {
            gaussians,
            axes: gaussians.rotations.par_iter().zip(&gaussians.scales).map(axes).collect(),
            colors: (0..gaussians.positions.len())
                .map(|index| gaussians.color(index).map(|value| value.clamp(0.0, 1.0)))
                .collect(),
        }
    }

    /// What must be in the picture: those that are not faint, to where they are.
    pub(super) fn balls(&self) -> Vec<Ball> {
        let Gaussians { positions, opacities, scales, .. } = self.gaussians;
        let solid = opacities.iter().any(|opacity| *opacity >= SOLID);
        let ball = |index: usize| {
            let widest = scales[index].iter().copied().fold(0.0, f32::max);
            (!solid || opacities[index] >= SOLID)
                .then(|| Ball { centre: positions[index], radius: SIGMAS * widest })
        };
        (0..positions.len()).filter_map(ball).collect()
    }

    /// Pixels: sRGB with straight alpha.
    pub(super) fn draw(&self, camera: &Camera, size: usize) -> Vec<[u8; 4]> {
        let mut splats: Vec<Splat> =
            (0..self.axes.len()).into_par_iter().filter_map(|index| self.splat(index, camera)).collect();
        splats.par_sort_unstable_by(|a, b| a.depth.total_cmp(&b.depth).then(a.index.cmp(&b.index)));
        let tiles = size.div_ceil(TILE);
        let mut queues = vec![vec![]; tiles * tiles];
        for (number, splat) in splats.iter().enumerate() {
            let [columns, rows] = [0, 1].map(|axis| {
                let at = |value: f32| (value / TILE as f32).clamp(0.0, tiles as f32) as usize;
                at(splat.centre[axis] - splat.reach[axis])
                    ..(at(splat.centre[axis] + splat.reach[axis]) + 1).min(tiles)
            });
            for row in rows {
                for column in columns.clone() {
                    queues[row * tiles + column].push(number as u32);
                }
            }
        }
        let drawn: Vec<Vec<[u8; 4]>> = queues
            .par_iter()
            .enumerate()
            .map(|(tile, queue)| self.tile(&splats, queue, tile, tiles))
            .collect();
        let pixel = |index: usize| {
            let (row, column) = (index / size, index % size);
            drawn[row / TILE * tiles + column / TILE][row % TILE * TILE + column % TILE]
        };
        (0..size * size).map(pixel).collect()
    }

    /// `None`: it is too faint to be seen.
    fn splat(&self, index: usize, camera: &Camera) -> Option<Splat> {
        let position = self.gaussians.positions[index];
        let [x, y, depth] = camera.see(position);
        if depth <= 0.0 {
            return None;
        }
        let [column, row, _] = camera.project(position);
        let scale = camera.focal / depth;
        let mut covariance = [0.0f32; 3];
        for axis in self.axes[index] {
            // The derivative of the projection, times the axis.
            let [right, up, away] = camera.turn(axis);
            let (dx, dy) = (scale * (right - away * x / depth), -scale * (up - away * y / depth));
            covariance = [covariance[0] + dx * dx, covariance[1] + dx * dy, covariance[2] + dy * dy];
        }
        let sharp = covariance[0] * covariance[2] - covariance[1] * covariance[1];
        let [xx, xy, yy] = [covariance[0] + BLUR, covariance[1], covariance[2] + BLUR];
        let determinant = xx * yy - xy * xy;
        // What is blurred is spread, not made more.
        let opacity = self.gaussians.opacities[index].clamp(0.0, 1.0) * (sharp.max(0.0) / determinant).sqrt();
        if opacity.is_nan() || opacity < FAINTEST {
            return None;
        }
        let sigmas = (2.0 * (opacity / FAINTEST).ln()).sqrt();
        Some(Splat {
            index: index as u32,
            depth,
            centre: [column, row],
            inverse: [yy / determinant, -xy / determinant, xx / determinant],
            opacity,
            reach: [sigmas * xx.sqrt(), sigmas * yy.sqrt()],
        })
    }

    /// A square of pixels, of which `queue` holds what may be seen there, the nearest first.
    fn tile(&self, splats: &[Splat], queue: &[u32], tile: usize, tiles: usize) -> Vec<[u8; 4]> {
        let (top, left) = (tile / tiles * TILE, tile % tiles * TILE);
        let pixel = |index: usize| {
            let at = [(left + index % TILE) as f32 + 0.5, (top + index / TILE) as f32 + 0.5];
            let (mut light, mut behind) = ([0.0f32; 3], 1.0f32);
            for &number in queue {
                let splat = &splats[number as usize];
                let alpha = splat.alpha(at);
                if alpha < FAINTEST {
                    continue;
                }
                let color = self.colors[splat.index as usize];
                light = std::array::from_fn(|channel| light[channel] + behind * alpha * color[channel]);
                behind *= 1.0 - alpha;
                if behind < DARK {
                    behind = 0.0;
                    break;
                }
            }
            let alpha = 1.0 - behind;
            let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
            let [r, g, b] = light.map(|value| byte(value / alpha.max(FAINTEST)));
            [r, g, b, byte(alpha)]
        };
        (0..TILE * TILE).map(pixel).collect()
    }
}

impl Splat {
    fn alpha(&self, at: [f32; 2]) -> f32 {
        let [x, y] = [at[0] - self.centre[0], at[1] - self.centre[1]];
        if x.abs() > self.reach[0] || y.abs() > self.reach[1] {
            return 0.0;
        }
        let [xx, xy, yy] = self.inverse;
        let square = xx * x * x + 2.0 * xy * x * y + yy * y * y;
        self.opacity * (-0.5 * square).exp()
    }
}
