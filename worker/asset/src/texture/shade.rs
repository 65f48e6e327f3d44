//! The colours of texels, from what is in space around them.

use rayon::prelude::*;

use super::bvh::{Bounds, Bvh};
use super::fill::Filled;
use super::texels::Texel;
use super::view::{Screen, View, looks};
use crate::Mesh;

/// Cells along the longest side of a mesh: voxels of the sparse structure.
const CELLS: f32 = 64.0;
/// A texel whose looks meet less than this on average takes the colour of what is around it.
const LEAST_OPACITY: f32 = 0.05;

/// Something that fills space and has colours.
pub(super) trait Volume: Sync {
    /// The part of it that is in a box.
    type Near;
    /// That part as seen along a direction.
    type Seen;

    /// What is in the box or reaches into it.
    fn near(&self, bounds: &Bounds) -> Self::Near;

    /// What may be met by looks along the direction at places in the window.
    fn seen(&self, near: &Self::Near, view: &View, window: &Bounds) -> Self::Seen;

    /// What a look shows: red, green and blue times the opacity, and the opacity.
    fn look(&self, seen: &Self::Seen, look: &super::view::Look) -> [f32; 4];

    /// What is around a point, wherever it is seen from, times a weight, and the weight.
    fn around(&self, near: &Self::Near, point: [f32; 3], reach: f32) -> [f32; 4];
}

/// The length of looks: the size of a voxel of the sparse structure, by which Gaussians may lie beside the surface.
pub(super) fn reach(bounds: &Bounds) -> f32 {
    (bounds.extent() / CELLS).max(f32::MIN_POSITIVE)
}

/// The colours of texels, with their numbers, in some order that is always the same. Those without a colour are left out.
pub(super) fn shade<V: Volume>(volume: &V, mesh: &Mesh, texels: &[Texel]) -> Vec<(u32, Filled)> {
    let bounds = Bounds::around(mesh.vertices.iter().copied());
    let reach = reach(&bounds);
    let tree = Bvh::new(mesh);
    let group = |texels: &[(u64, Texel)]| {
        let texels: Vec<Texel> = texels.iter().map(|(_, texel)| *texel).collect();
        Group { volume, mesh, tree: &tree, reach, texels: &texels }.shade()
    };
    let sorted = by_cell(texels, &bounds, reach);
    let groups: Vec<_> = sorted.chunk_by(|a, b| a.0 >> 32 == b.0 >> 32).collect();
    groups.into_par_iter().flat_map_iter(group).collect()
}

/// Texels in the order of the cells that they show a place of.
fn by_cell(texels: &[Texel], bounds: &Bounds, cell: f32) -> Vec<(u64, Texel)> {
    let key = |(index, texel): (usize, &Texel)| {
        let cell = |axis: usize| ((texel.point[axis] - bounds.min[axis]) / cell) as u64 & 0xff;
        (((cell(2) << 16 | cell(1) << 8 | cell(0)) << 32) | index as u64, *texel)
    };
    let mut sorted: Vec<_> = texels.par_iter().enumerate().map(key).collect();
    sorted.par_sort_unstable_by_key(|&(key, _)| key);
    sorted
}

/// The texels of one cell.
struct Group<'a, V> {
    volume: &'a V,
    mesh: &'a Mesh,
    tree: &'a Bvh<'a>,
    reach: f32,
    texels: &'a [Texel],
}

impl<V: Volume> Group<'_, V> {
    fn shade(&self) -> Vec<(u32, Filled)> {
        let bounds = Bounds::around(self.texels.iter().map(|texel| texel.point));
        let near = self.volume.near(&bounds.grown(self.reach));
        let faces = self.tree.near(&bounds.grown(2.0 * self.reach), Screen::LIMIT);
        // Red, green, blue, opacity, and what all looks count together.
        let mut sums = vec![[0.0f32; 5]; self.texels.len()];
        for view in View::all(bounds.min) {
            self.add(&view, &near, &faces, &mut sums);
        }
        let color = |(texel, sum): (&Texel, &[f32; 5])| {
            let [r, g, b, weight] = if sum[3] > LEAST_OPACITY * sum[4] {
                [sum[0], sum[1], sum[2], sum[3]]
            } else {
                self.volume.around(&near, texel.point, self.reach)
            };
            (weight > 0.0).then(|| {
                let [r, g, b] = [r, g, b].map(|x| (x / weight * 255.0).round() as u8);
                (texel.index, [r, g, b, 255])
            })
        };
        self.texels.iter().zip(&sums).filter_map(color).collect()
    }

    /// Adds what is seen along a direction.
    fn add(&self, view: &View, near: &V::Near, faces: &[u32], sums: &mut [[f32; 5]]) {
        let facing = self.texels.iter().filter(|texel| view.weight(texel.normal) > 0.0);
        let window = Bounds::around(facing.map(|texel| view.place(texel.point)));
        if window.min[0] > window.max[0] {
            return;
        }
        let deeper = |mut bounds: Bounds, inside: f32, outside: f32| {
            (bounds.min[2], bounds.max[2]) = (bounds.min[2] - inside, bounds.max[2] + outside);
            bounds
        };
        let screen = Screen::new(view, self.mesh, faces, &deeper(window, 0.0, 2.0 * self.reach));
        let seen = self.volume.seen(near, view, &deeper(window, self.reach, self.reach));
        for (index, look) in looks(view, self.texels, &screen, self.reach) {
            let shown = self.volume.look(&seen, &look);
            for (sum, value) in sums[index].iter_mut().zip(shown.into_iter().chain([1.0])) {
                *sum += look.weight * value;
            }
        }
    }
}
