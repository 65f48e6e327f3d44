//! Looks at a small part of the surface along fixed directions, from so far outside as nothing else comes between.

use super::bvh::Bounds;
use super::texels::Texel;
use crate::Mesh;
use crate::mesh::{cross, dot, minus, normalised};

/// Directions at a greater angle to the normal than this cosine do not count.
const LEAST_COSINE: f32 = 0.7;
/// What a look counts that another face is in the way of.
const BLOCKED: f32 = 0.02;
/// Faces nearer than this, in cells, belong to the surface itself.
const CONTACT: f32 = 0.05;
/// Faces that are looked through, at most, around a cell.
const MAX_FACES: usize = 1024;

/// A direction and the plane across it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Towards the viewer.
    pub(super) outwards: [f32; 3],
    pub(super) right: [f32; 3],
    pub(super) up: [f32; 3],
    /// What all places are relative to.
    pub(super) origin: [f32; 3],
}

impl View {
    /// The 26 directions to the middles of a cube's faces, edges and corners.
    pub(super) fn all(origin: [f32; 3]) -> Vec<Self> {
        let steps = (0..27).map(|i| [i / 9, i / 3 % 3, i % 3].map(|step| step as f32 - 1.0));
        let view = |step| {
            let outwards = normalised(step)?;
            let axis = if outwards[2].abs() < 0.9 { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] };
            let right = normalised(cross(axis, outwards))?;
            Some(Self { outwards, right, up: cross(outwards, right), origin })
        };
        steps.filter_map(view).collect()
    }

    /// Right, up and outwards.
    pub(super) fn place(&self, point: [f32; 3]) -> [f32; 3] {
        let way = minus(point, self.origin);
        [dot(way, self.right), dot(way, self.up), dot(way, self.outwards)]
    }

    /// How much a look along this direction at a place with this normal counts.
    pub(super) fn weight(&self, normal: [f32; 3]) -> f32 {
        (dot(normal, self.outwards) - LEAST_COSINE).max(0.0).powi(2)
    }
}

/// A look at one place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Right, up and outwards.
    pub(super) place: [f32; 3],
    /// How far outside it begins.
    pub(super) outside: f32,
    /// How far inside it ends.
    pub(super) inside: f32,
    /// What it counts.
    pub(super) weight: f32,
}

/// The looks along one direction at those texels that face it, with the texels' numbers in the list.
pub(super) fn looks(view: &View, texels: &[Texel], screen: &Screen, reach: f32) -> Vec<(usize, Look)> {
    let look = |(index, texel): (usize, &Texel)| {
        let weight = view.weight(texel.normal);
        (weight > 0.0).then(|| {
            let place = view.place(texel.point);
            let gap = screen.gap(place, CONTACT * reach, 2.0 * reach);
            let (outside, share) = gap.map_or((reach, 1.0), |gap| (gap * 0.5, BLOCKED));
            (index, Look { place, outside, inside: reach, weight: weight * share })
        })
    };
    texels.iter().enumerate().filter_map(look).collect()
}

/// The faces around some texels, seen along a direction.
pub(super) struct Screen {
    triangles: Vec<Triangle>,
}

struct Triangle {
    bounds: Bounds,
    corners: [[f32; 3]; 3],
    inverse_area: f32,
}

impl Screen {
    pub(super) fn new(view: &View, mesh: &Mesh, faces: &[u32], window: &Bounds) -> Self {
        let triangle = |&face: &u32| {
            let corners = mesh.faces[face as usize].map(|vertex| view.place(mesh.vertices[vertex as usize]));
            let bounds = Bounds::around(corners);
            let inverse_area = 1.0 / twice_area(corners[0], corners[1], corners[2]);
            (bounds.overlaps(window) && inverse_area.is_finite()).then_some(Triangle {
                bounds,
                corners,
                inverse_area,
            })
        };
        Self { triangles: faces.iter().take(MAX_FACES).filter_map(triangle).collect() }
    }

    /// How far outside a place the first face is, between the two distances.
    fn gap(&self, place: [f32; 3], contact: f32, reach: f32) -> Option<f32> {
        let [x, y, depth] = place;
        let mut nearest = f32::INFINITY;
        for Triangle { bounds, corners: [a, b, c], inverse_area } in &self.triangles {
            let beside = x < bounds.min[0] || x > bounds.max[0] || y < bounds.min[1] || y > bounds.max[1];
            if beside || bounds.max[2] < depth + contact {
                continue;
            }
            let shares = [twice_area(*b, *c, place), twice_area(*c, *a, place), twice_area(*a, *b, place)]
                .map(|part| part * inverse_area);
            if shares.iter().all(|&share| share >= 0.0) {
                let gap = shares[0] * a[2] + shares[1] * b[2] + shares[2] * c[2] - depth;
                if gap > contact {
                    nearest = nearest.min(gap);
                }
            }
        }
        (nearest < reach).then_some(nearest)
    }

    /// How many faces are looked at, at most.
    pub(super) const LIMIT: usize = MAX_FACES;
}

/// Of the first two coordinates.
fn twice_area(a: [f32; 3], b: [f32; 3], c: [f32; 3]) -> f32 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}
