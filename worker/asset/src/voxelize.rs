//! The voxels that a mesh's surface passes through (SPEC sections 9 and 17).
//!
//! A triangle and a box overlap unless one of 13 axes separates them (Akenine-Möller, "Fast 3D triangle-box overlap testing", 2001). Of two
//! voxels that a triangle's least or greatest coordinate lies exactly between, the upper one is active, as in the reference.

use std::ops::RangeInclusive;

use rayon::prelude::*;

use crate::{Error, Mesh, Result};

/// Voxels on a side of the grid.
pub const RESOLUTION: usize = 64;
const VOXEL: f64 = 1.0 / RESOLUTION as f64;
const HALF: f64 = VOXEL / 2.0;
/// How far inside the unit cube the surface is kept.
const MARGIN: f64 = 1e-6;
/// So many triangles share one copy of the grid while they are tested.
const CHUNK: usize = 1 << 14;
const WORDS: usize = RESOLUTION * RESOLUTION * RESOLUTION / 64;

type Vector = [f64; 3];

/// The active voxels (x, y, z) of a mesh that is centred and scaled to the unit cube, in lexicographic order.
///
/// # Errors
/// [`Error::InvalidInput`] when the mesh has no face or no extent, a coordinate is not finite, or a face names a vertex that is not there.
pub fn voxelize(mesh: &Mesh) -> Result<Vec<[u8; 3]>> {
    let vertices: Vec<_> = mesh.vertices.iter().map(|vertex| vertex.map(f64::from)).collect();
    surface_voxels(&fit_unit_cube(&vertices)?, &mesh.faces)
}

/// Vertices with the centre of their bounding box moved to the origin and its longest side scaled to 1.
///
/// # Errors
/// [`Error::InvalidInput`] when a coordinate is not finite or all are the same.
pub fn fit_unit_cube(vertices: &[Vector]) -> Result<Vec<Vector>> {
    let bound = |pick: fn(f64, f64) -> f64, start: f64| {
        vertices
            .iter()
            .fold([start; 3], |bound, vertex| [0, 1, 2].map(|axis| pick(bound[axis], vertex[axis])))
    };
    let (low, high) = (bound(f64::min, f64::INFINITY), bound(f64::max, f64::NEG_INFINITY));
    let side = (0..3).map(|axis| high[axis] - low[axis]).fold(0.0, f64::max);
    if !vertices.as_flattened().iter().all(|value| value.is_finite()) || !side.is_finite() || side <= 0.0 {
        return Err(Error::InvalidInput(
            "the mesh has no extent, or coordinates that are not finite; export it again".into(),
        ));
    }
    let centre = [0, 1, 2].map(|axis| (low[axis] + high[axis]) / 2.0);
    let fit = |value: f64, axis: usize| ((value - centre[axis]) / side).clamp(MARGIN - 0.5, 0.5 - MARGIN);
    Ok(vertices.iter().map(|vertex| [0, 1, 2].map(|axis| fit(vertex[axis], axis))).collect())
}

/// The voxels of the unit cube around the origin that the triangles overlap, in lexicographic order.
///
/// # Errors
/// [`Error::InvalidInput`] when there is no face, or one names a vertex that is not there.
pub fn surface_voxels(vertices: &[Vector], faces: &[[u32; 3]]) -> Result<Vec<[u8; 3]>> {
    if faces.is_empty() {
        return Err(Error::InvalidInput("the mesh has no faces; a cloud of points has no surface".into()));
    }
    let corners = |face: &[u32; 3]| {
        let [a, b, c] = face.map(|vertex| vertices.get(vertex as usize).copied());
        Some([a?, b?, c?])
    };
    let triangles: Vec<[Vector; 3]> = faces.iter().map(corners).collect::<Option<_>>().ok_or_else(|| {
        Error::InvalidInput("a face of the mesh names a vertex that is not there; export it again".into())
    })?;
    let active = triangles.par_chunks(CHUNK).map(active_voxels).reduce(Occupancy::default, Occupancy::or);
    Ok(active.voxels())
}

/// A bit for each voxel, z fastest.
struct Occupancy(Vec<u64>);

impl Default for Occupancy {
    fn default() -> Self {
        Self(vec![0; WORDS])
    }
}

impl Occupancy {
    fn bit([x, y, z]: [usize; 3]) -> (usize, u64) {
        let index = (x * RESOLUTION + y) * RESOLUTION + z;
        (index / 64, 1 << (index % 64))
    }

    fn contains(&self, voxel: [usize; 3]) -> bool {
        let (word, bit) = Self::bit(voxel);
        self.0[word] & bit != 0
    }

    fn insert(&mut self, voxel: [usize; 3]) {
        let (word, bit) = Self::bit(voxel);
        self.0[word] |= bit;
    }

    fn or(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine |= theirs);
        self
    }

    fn voxels(&self) -> Vec<[u8; 3]> {
        let side = 0..RESOLUTION;
        let grid = side
            .clone()
            .flat_map(|x| side.clone().flat_map(move |y| (0..RESOLUTION).map(move |z| [x, y, z])));
        grid.filter(|&voxel| self.contains(voxel)).map(|voxel| voxel.map(|index| index as u8)).collect()
    }
}

fn active_voxels(triangles: &[[Vector; 3]]) -> Occupancy {
    let mut active = Occupancy::default();
    triangles.iter().for_each(|triangle| fill(triangle, &mut active));
    active
}

/// Goes through the columns along the axis that the triangle faces most: in each it passes through few voxels.
fn fill(triangle: &[Vector; 3], active: &mut Occupancy) {
    let [a, b, c] = *triangle;
    let normal = cross(minus(b, a), minus(c, a));
    let depth = (0..3).max_by(|&i, &j| normal[i].abs().total_cmp(&normal[j].abs())).unwrap_or(0);
    let (u, v) = ((depth + 1) % 3, (depth + 2) % 3);
    let bounds = [0, 1, 2].map(|axis| {
        let values = triangle.map(|corner| corner[axis]);
        passed(
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        )
    });
    // How far from the plane along the column the centre of an overlapping voxel may be.
    let reach = HALF * normal.iter().map(|value| value.abs()).sum::<f64>() / normal[depth].abs();
    let mut voxel = [0; 3];
    for i in bounds[u].clone() {
        for j in bounds[v].clone() {
            (voxel[u], voxel[v]) = (i, j);
            let across = normal[u] * (centre(i) - a[u]) + normal[v] * (centre(j) - a[v]);
            let height = a[depth] - across / normal[depth];
            // A triangle without area has no plane: all its bounding box is tested.
            let near = if height.is_finite() {
                passed(height - reach - VOXEL, height + reach + VOXEL)
            } else {
                0..=RESOLUTION - 1
            };
            let (low, high) =
                (*near.start().max(bounds[depth].start()), *near.end().min(bounds[depth].end()));
            for k in low..=high {
                voxel[depth] = k;
                if !active.contains(voxel) && overlaps(triangle, voxel.map(centre)) {
                    active.insert(voxel);
                }
            }
        }
    }
}

/// The voxels along an axis that this interval passes through.
fn passed(low: f64, high: f64) -> RangeInclusive<usize> {
    let index = |value: f64| ((value + 0.5) / VOXEL).floor().clamp(0.0, (RESOLUTION - 1) as f64) as usize;
    index(low)..=index(high)
}

fn centre(index: usize) -> f64 {
    index as f64 * VOXEL + HALF - 0.5
}

/// Whether no axis separates the triangle from the voxel around `centre`.
fn overlaps(triangle: &[Vector; 3], centre: Vector) -> bool {
    let corners = triangle.map(|corner| minus(corner, centre));
    let edges = [0, 1, 2].map(|edge| minus(corners[(edge + 1) % 3], corners[edge]));
    let separates = |axis: Vector| {
        let radius = HALF * axis.iter().map(|value| value.abs()).sum::<f64>();
        let [p, q, r] = corners.map(|corner| dot(axis, corner));
        p.min(q).min(r) > radius || p.max(q).max(r) < -radius
    };
    let sides = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    !(sides.into_iter().any(separates)
        || separates(cross(edges[0], edges[1]))
        || edges.into_iter().any(|edge| sides.into_iter().any(|side| separates(cross(side, edge)))))
}

fn minus(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Paint;

    fn mesh(vertices: &[[f32; 3]], faces: &[[u32; 3]]) -> Mesh {
        // Not `Mesh::new`, which takes normals of vertices that must be there.
        let normals = vec![[0.0, 0.0, 1.0]; vertices.len()];
        Mesh { vertices: vertices.to_vec(), normals, faces: faces.to_vec(), paint: Paint::None }
    }

    #[test]
    fn a_mesh_without_surface_is_refused() {
        let triangle = [[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let infinite = [[0.0; 3], [1.0, 0.0, 0.0], [0.0, f32::INFINITY, 0.0]];
        for (vertices, faces) in [
            (&triangle[..], &[][..]),
            (&triangle[..], &[[0, 1, 3]][..]),
            (&[[1.0; 3]; 3][..], &[[0, 1, 2]][..]),
            (&infinite[..], &[[0, 1, 2]][..]),
            (&[][..], &[][..]),
        ] {
            assert!(
                matches!(voxelize(&mesh(vertices, faces)), Err(Error::InvalidInput(_))),
                "{vertices:?} {faces:?}"
            );
        }
    }

    #[test]
    fn a_triangle_without_area_still_marks_the_line_that_it_is() {
        let line = mesh(&[[0.0; 3], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]], &[[0, 1, 2]]);
        let voxels = voxelize(&line).unwrap();
        assert!((0..64).all(|x| voxels.contains(&[x, 32, 32])), "{voxels:?}");
    }

    #[test]
    fn columns_leave_out_no_voxel_that_a_triangle_overlaps() {
        let triangle = [[-0.4, -0.3, 0.21], [0.37, 0.11, -0.4], [0.05, 0.45, 0.3]];
        let fast = surface_voxels(&triangle, &[[0, 1, 2]]).unwrap();
        let side = 0..RESOLUTION;
        let all = side
            .clone()
            .flat_map(|x| side.clone().flat_map(move |y| (0..RESOLUTION).map(move |z| [x, y, z])));
        let slow: Vec<_> = all
            .filter(|voxel| overlaps(&triangle, voxel.map(centre)))
            .map(|voxel| voxel.map(|index| index as u8))
            .collect();
        assert!(slow.len() > 1000);
        assert_eq!(fast, slow);
    }
}
