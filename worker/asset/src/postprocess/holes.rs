//! Holes: loops of edges that have a face on one side only.

use rayon::prelude::*;

use super::clean::twice_area;
use crate::mesh::minus;
use crate::{Mesh, Paint};

/// Loops of more edges are left open whatever the limit: the search for the best patch takes time with their square.
const LONGEST: usize = 1000;
/// Loops of at most so many edges get the best of all patches; longer ones are cut in two first.
const BEST: usize = 32;
/// What a triangle's edges count beside its area, so that those of flat patches are well shaped.
const SHAPE_WEIGHT: f64 = 0.02;
/// What a second face on both sides of an edge counts.
const CROWDED: f64 = 1e6;

/// Closes the holes of at most `longest` edges (and 1000) with faces between the vertices around them, turned as their neighbours are. The result is
/// their number. The patch of a hole is the one of least area and well shaped triangles (after Barequet & Sharir, "Filling gaps in
/// the boundary of a polyhedron", 1995).
///
/// A mesh with a texture keeps its holes, for which there would be no picture.
pub fn close_holes(mesh: &mut Mesh, longest: usize) -> usize {
    if matches!(mesh.paint, Paint::Texture { .. }) {
        return 0;
    }
    let edges = Edges::of(mesh);
    let loops = edges.open_loops(mesh.vertices.len());
    let closable = |edge_loop: &&Vec<u32>| (3..=longest.min(LONGEST)).contains(&edge_loop.len());
    let patch = |edge_loop: &Vec<u32>| {
        let mut faces = vec![];
        Patch { mesh, edges: &edges }.divide(edge_loop, &mut faces);
        faces
    };
    let patches: Vec<_> = loops.par_iter().filter(closable).map(patch).collect();
    let has_area = |face: &[u32; 3]| twice_area(face.map(|vertex| mesh.vertices[vertex as usize])) > 0.0;
    let faces: Vec<_> = patches.iter().flatten().copied().filter(has_area).collect();
    mesh.faces.extend(faces);
    patches.len()
}

/// The edges of all faces, each a number of 64 bits: the smaller vertex, the greater one (31 bits and 32), whether the face goes from the
/// greater to the smaller. Sorted.
struct Edges(Vec<u64>);

impl Edges {
    fn of(mesh: &Mesh) -> Self {
        let sides = |&[a, b, c]: &[u32; 3]| [[a, b], [b, c], [c, a]].map(|[from, to]| Self::key(from, to));
        let mut keys: Vec<u64> = mesh.faces.par_iter().flat_map_iter(sides).collect();
        keys.par_sort_unstable();
        Self(keys)
    }

    fn key(from: u32, to: u32) -> u64 {
        u64::from(from.min(to)) << 33 | u64::from(from.max(to)) << 1 | u64::from(from > to)
    }

    /// Whether two vertices have an edge between them.
    fn contain(&self, a: u32, b: u32) -> bool {
        let key = Self::key(a, b) >> 1;
        self.0.binary_search_by_key(&key, |edge| edge >> 1).is_ok()
    }

    /// Edges with one face, as that face's missing neighbour would go along them, in order of their start.
    fn open(&self) -> Vec<[u32; 2]> {
        let single = self.0.chunk_by(|a, b| a >> 1 == b >> 1).filter(|edges| edges.len() == 1);
        let mut open: Vec<[u32; 2]> = single
            .map(|edges| {
                let [small, great] = [(edges[0] >> 33) as u32, (edges[0] >> 1) as u32];
                if edges[0] & 1 == 1 { [small, great] } else { [great, small] }
            })
            .collect();
        open.par_sort_unstable();
        open
    }

    /// The closed ways along open edges that meet no vertex twice.
    fn open_loops(&self, vertices: usize) -> Vec<Vec<u32>> {
        let open = self.open();
        let first = |vertex: u32| open.partition_point(|edge| edge[0] < vertex);
        let mut used = vec![false; open.len()];
        let mut place = vec![usize::MAX; vertices];
        let (mut loops, mut path) = (vec![], vec![]);
        for start in 0..open.len() {
            let mut vertex = open[start][0];
            loop {
                let leaving = (first(vertex)..open.len()).take_while(|&edge| open[edge][0] == vertex);
                let Some(edge) = leaving.into_iter().find(|&edge| !used[edge]) else { break };
                used[edge] = true;
                place[vertex as usize] = path.len();
                path.push(vertex);
                vertex = open[edge][1];
                if place[vertex as usize] != usize::MAX {
                    let closed = path.split_off(place[vertex as usize]);
                    closed.iter().for_each(|&vertex: &u32| place[vertex as usize] = usize::MAX);
                    loops.push(closed);
                }
            }
            path.drain(..).for_each(|vertex| place[vertex as usize] = usize::MAX);
        }
        loops
    }
}

/// What closes one hole.
struct Patch<'a> {
    mesh: &'a Mesh,
    edges: &'a Edges,
}

impl Patch<'_> {
    /// Cuts a long loop where its sides come near each other, and fills the parts.
    fn divide(&self, edge_loop: &[u32], faces: &mut Vec<[u32; 3]>) {
        if edge_loop.len() <= BEST {
            return self.fill(edge_loop, faces);
        }
        let count = edge_loop.len();
        let mut along = vec![0.0];
        for index in 0..count {
            along.push(along[index] + self.distance(edge_loop[index], edge_loop[(index + 1) % count]));
        }
        let pinch = |i: usize, j: usize| {
            let way = along[j] - along[i];
            self.distance(edge_loop[i], edge_loop[j]) / way.min(along[count] - way)
        };
        let mut cut = (f64::INFINITY, 0, count / 2);
        for i in 0..count {
            for j in i + count / 8..(i + count - count / 8).min(count) {
                let pinch = pinch(i, j);
                if pinch < cut.0 && !self.edges.contain(edge_loop[i], edge_loop[j]) {
                    cut = (pinch, i, j);
                }
            }
        }
        let (_, i, j) = cut;
        self.divide(&edge_loop[i..=j], faces);
        let rest: Vec<u32> = edge_loop[j..].iter().chain(&edge_loop[..=i]).copied().collect();
        self.divide(&rest, faces);
    }

    /// Fills a loop with the triangles that cost least.
    fn fill(&self, edge_loop: &[u32], faces: &mut Vec<[u32; 3]>) {
        let count = edge_loop.len();
        // The least cost of what lies between vertices i and j of the loop, and the third corner of the triangle there.
        let mut best = vec![(0.0f64, 0usize); count * count];
        for length in 2..count {
            for i in 0..count - length {
                let j = i + length;
                let outer = length + 1 == count;
                let crowded = !outer && self.edges.contain(edge_loop[i], edge_loop[j]);
                let cost = |k: usize| {
                    let parts = best[i * count + k].0 + best[k * count + j].0;
                    parts + self.cost([edge_loop[i], edge_loop[k], edge_loop[j]])
                };
                let choices = (i + 1..j).map(|k| (cost(k), k));
                let (cost, k) = choices.fold((f64::INFINITY, i + 1), |a, b| if b.0 < a.0 { b } else { a });
                best[i * count + j] = (if crowded { cost * CROWDED } else { cost }, k);
            }
        }
        let mut open = vec![(0, count - 1)];
        while let Some((i, j)) = open.pop() {
            if j - i >= 2 {
                let k = best[i * count + j].1;
                faces.push([edge_loop[i], edge_loop[k], edge_loop[j]]);
                open.extend([(i, k), (k, j)]);
            }
        }
    }

    fn cost(&self, face: [u32; 3]) -> f64 {
        let [a, b, c] = face;
        let sides = [[a, b], [b, c], [c, a]].map(|[from, to]| self.distance(from, to).powi(2));
        twice_area(face.map(|vertex| self.mesh.vertices[vertex as usize]))
            + SHAPE_WEIGHT * sides.iter().sum::<f64>()
    }

    fn distance(&self, a: u32, b: u32) -> f64 {
        let way = minus(self.mesh.vertices[a as usize], self.mesh.vertices[b as usize]);
        way.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sphere of `rings` rows without the rows above the given height.
    fn bowl(around: u32, rings: u32, top: u32) -> Mesh {
        let angle = |share: f32| (share * std::f32::consts::PI).sin_cos();
        let mut vertices = vec![[0.0, 0.0, -1.0]];
        for ring in 1..=top {
            let (radius, z) = angle(ring as f32 / rings as f32);
            for step in 0..around {
                let (y, x) = angle(2.0 * step as f32 / around as f32);
                vertices.push([x * radius, y * radius, -z]);
            }
        }
        let at = |ring: u32, step: u32| 1 + (ring - 1) * around + step % around;
        let mut faces: Vec<_> = (0..around).map(|step| [0, at(1, step + 1), at(1, step)]).collect();
        for (ring, step) in (1..top).flat_map(|ring| (0..around).map(move |step| (ring, step))) {
            let [a, b] = [at(ring, step), at(ring, step + 1)];
            let [c, d] = [at(ring + 1, step + 1), at(ring + 1, step)];
            faces.extend([[a, b, c], [a, c, d]]);
        }
        Mesh::new(vertices, faces, Paint::None)
    }

    fn volume(mesh: &Mesh) -> f32 {
        let six = |face: &[u32; 3]| {
            let [a, b, c] = face.map(|vertex| mesh.vertices[vertex as usize]);
            crate::mesh::dot(a, crate::mesh::cross(b, c))
        };
        mesh.faces.iter().map(six).sum::<f32>() / 6.0
    }

    #[test]
    fn a_hole_is_closed_without_a_seam_or_a_fold() {
        for around in [3, 17, 64, 250] {
            let mut mesh = bowl(around, 32, 16);
            let faces = mesh.faces.len();
            assert_eq!(close_holes(&mut mesh, 250), 1);
            assert_eq!(mesh.faces.len(), faces + around as usize - 2);
            assert!(Edges::of(&mesh).open().is_empty());
            assert!(
                Edges::of(&mesh).0.windows(2).all(|pair| pair[0] != pair[1]),
                "an edge has two faces on one side"
            );
            // A lid that is flat and points outwards adds nothing to the half below it.
            let expected = volume(&bowl(around, 32, 16));
            assert!((volume(&mesh) - expected).abs() < 1e-4, "{} instead of {expected}", volume(&mesh));
        }
    }

    #[test]
    fn a_hole_larger_than_the_limit_stays() {
        let mut mesh = bowl(64, 32, 16);
        assert_eq!(close_holes(&mut mesh, 63), 0);
        assert_eq!(mesh, bowl(64, 32, 16));
    }

    #[test]
    fn holes_that_share_a_vertex_are_closed_each_for_itself() {
        // Two tetrahedra that touch at their tops, without their bases.
        let base = |x: f32| [[x, 1.0, 0.0], [x - 0.5, 0.0, 0.0], [x + 0.5, 0.0, 0.0]];
        let vertices = [&[[0.0, 0.0, 1.0]][..], &base(-1.0), &base(1.0)].concat();
        let sides = |b: u32| [[0, b, b + 1], [0, b + 1, b + 2], [0, b + 2, b]];
        let mut mesh = Mesh::new(vertices, [sides(1), sides(4)].concat(), Paint::None);
        // And without one side, so that both ways round go through the top.
        mesh.faces.remove(5);
        mesh.faces.remove(2);
        assert_eq!(close_holes(&mut mesh, 10), 2);
        assert!(Edges::of(&mesh).open().is_empty());
    }
}
