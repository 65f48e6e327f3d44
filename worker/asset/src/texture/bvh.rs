//! The faces of a mesh in a tree of boxes (after Lauterbach et al., "Fast BVH Construction on GPUs", 2009): sorted along a curve through
//! space, and boxes around every few of them, around every two of those, and so on.

use rayon::prelude::*;

use crate::Mesh;
use crate::mesh::{dot, minus};

/// Faces in a box of the lowest level.
const LEAF: usize = 4;

/// A box with sides along the axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) min: [f32; 3],
    pub(super) max: [f32; 3],
}

impl Bounds {
    /// The smallest around some points. Without any it contains nothing.
    pub(super) fn around(points: impl IntoIterator<Item = [f32; 3]>) -> Self {
        let empty = Self { min: [f32::INFINITY; 3], max: [f32::NEG_INFINITY; 3] };
        points.into_iter().fold(empty, |bounds, point| bounds.and(&Self { min: point, max: point }))
    }

    fn and(&self, other: &Self) -> Self {
        Self {
            min: std::array::from_fn(|axis| self.min[axis].min(other.min[axis])),
            max: std::array::from_fn(|axis| self.max[axis].max(other.max[axis])),
        }
    }

    /// With `margin` more on every side.
    pub(super) fn grown(&self, margin: f32) -> Self {
        Self { min: self.min.map(|x| x - margin), max: self.max.map(|x| x + margin) }
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        (0..3).all(|axis| self.min[axis] <= other.max[axis] && other.min[axis] <= self.max[axis])
    }

    /// The square of a point's distance, 0 inside.
    pub(super) fn square_distance(&self, point: [f32; 3]) -> f32 {
        let beyond = |axis: usize| (self.min[axis] - point[axis]).max(point[axis] - self.max[axis]).max(0.0);
        (0..3).map(|axis| beyond(axis) * beyond(axis)).sum()
    }

    /// The longest side.
    pub(super) fn extent(&self) -> f32 {
        (0..3).map(|axis| self.max[axis] - self.min[axis]).fold(0.0, f32::max)
    }
}

/// The tree.
pub(super) struct Bvh<'a> {
    mesh: &'a Mesh,
    /// Faces in the order of the leaves.
    order: Vec<u32>,
    /// Boxes from the lowest level to the one that is around everything.
    levels: Vec<Vec<Bounds>>,
}

impl<'a> Bvh<'a> {
    pub(super) fn new(mesh: &'a Mesh) -> Self {
        let corners = |face: &[u32; 3]| face.map(|vertex| mesh.vertices[vertex as usize]);
        let whole = Bounds::around(mesh.vertices.iter().copied());
        let scale = 1023.0 / whole.extent().max(f32::MIN_POSITIVE);
        let code = |(index, face): (usize, &[u32; 3])| {
            let [a, b, c] = corners(face);
            let cell = |axis: usize| (((a[axis] + b[axis] + c[axis]) / 3.0 - whole.min[axis]) * scale) as u32;
            (u64::from(morton([0, 1, 2].map(cell))) << 32) | index as u64
        };
        let mut codes: Vec<u64> = mesh.faces.par_iter().enumerate().map(code).collect();
        codes.par_sort_unstable();
        let order: Vec<u32> = codes.par_iter().map(|&code| code as u32).collect();
        let around = |faces: &[u32]| {
            Bounds::around(faces.iter().flat_map(|&face| corners(&mesh.faces[face as usize])))
        };
        let mut levels = vec![order.par_chunks(LEAF).map(around).collect::<Vec<_>>()];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let pair = |pair: &[Bounds]| pair.iter().skip(1).fold(pair[0], |bounds, other| bounds.and(other));
            levels.push(level.chunks(2).map(pair).collect());
        }
        Self { mesh, order, levels }
    }

    /// Faces whose boxes of the lowest level touch the given one, at most `limit`.
    pub(super) fn near(&self, bounds: &Bounds, limit: usize) -> Vec<u32> {
        let mut faces = vec![];
        let mut open = vec![(self.levels.len() - 1, 0)];
        while let Some((level, index)) = open.pop() {
            if !self.levels[level][index].overlaps(bounds) {
                continue;
            }
            if level > 0 {
                open.extend(self.children(level, index).rev());
            } else if faces.len() < limit {
                faces.extend(self.leaf(index));
            } else {
                break;
            }
        }
        faces
    }

    /// The face that comes nearest to a point, and how its point there divides it. `first` is looked at first.
    pub(super) fn nearest(&self, point: [f32; 3], first: u32) -> (u32, [f32; 3]) {
        let mut best = self.measure(point, first);
        let mut open = vec![(self.levels.len() - 1, 0)];
        while let Some((level, index)) = open.pop() {
            if self.levels[level][index].square_distance(point) >= best.0 {
                continue;
            }
            if level > 0 {
                let distance =
                    |&(level, index): &(usize, usize)| self.levels[level][index].square_distance(point);
                let mut children: Vec<_> = self.children(level, index).collect();
                children.sort_by(|a, b| distance(b).total_cmp(&distance(a)));
                open.extend(children);
            } else {
                for &face in self.leaf(index) {
                    let found = self.measure(point, face);
                    if found.0 < best.0 {
                        best = found;
                    }
                }
            }
        }
        (best.1, best.2)
    }

    /// The square of a face's distance, the face, and how its nearest point divides it.
    fn measure(&self, point: [f32; 3], face: u32) -> (f32, u32, [f32; 3]) {
        let corners = self.mesh.faces[face as usize].map(|vertex| self.mesh.vertices[vertex as usize]);
        let shares = nearest_shares(point, corners);
        let way: [f32; 3] = std::array::from_fn(|axis| {
            (0..3).map(|corner| shares[corner] * corners[corner][axis]).sum::<f32>() - point[axis]
        });
        (dot(way, way), face, shares)
    }

    fn leaf(&self, index: usize) -> &[u32] {
        &self.order[index * LEAF..((index + 1) * LEAF).min(self.order.len())]
    }

    fn children(
        &self,
        level: usize,
        index: usize,
    ) -> impl DoubleEndedIterator<Item = (usize, usize)> + use<> {
        (index * 2..(index * 2 + 2).min(self.levels[level - 1].len())).map(move |child| (level - 1, child))
    }
}

/// Interleaves the lowest ten bits of three numbers.
fn morton(cell: [u32; 3]) -> u32 {
    let spread = |x: u32| (0..10).fold(0, |code, bit| code | ((x >> bit & 1) << (3 * bit)));
    spread(cell[0]) | spread(cell[1]) << 1 | spread(cell[2]) << 2
}

/// How the point of a triangle that is nearest to the given one divides it.
fn nearest_shares(point: [f32; 3], [a, b, c]: [[f32; 3]; 3]) -> [f32; 3] {
    let (ab, ac, ap) = (minus(b, a), minus(c, a), minus(point, a));
    let (uu, uv, vv) = (dot(ab, ab), dot(ab, ac), dot(ac, ac));
    let (pu, pv) = (dot(ap, ab), dot(ap, ac));
    let area = uu * vv - uv * uv;
    let (s, t) = ((vv * pu - uv * pv) / area, (uu * pv - uv * pu) / area);
    if s >= 0.0 && t >= 0.0 && s + t <= 1.0 {
        return [1.0 - s - t, s, t];
    }
    // Outside, the nearest point is on one of the sides.
    let along = |from: [f32; 3], to: [f32; 3]| {
        let side = minus(to, from);
        let share = dot(minus(point, from), side) / dot(side, side);
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let way = minus(point, std::array::from_fn(|axis| from[axis] + share * side[axis]));
        (dot(way, way), share)
    };
    let (on_ab, on_bc, on_ca) = (along(a, b), along(b, c), along(c, a));
    if on_ab.0 <= on_bc.0 && on_ab.0 <= on_ca.0 {
        [1.0 - on_ab.1, on_ab.1, 0.0]
    } else if on_bc.0 <= on_ca.0 {
        [0.0, 1.0 - on_bc.1, on_bc.1]
    } else {
        [on_ca.1, 0.0, 1.0 - on_ca.1]
    }
}
