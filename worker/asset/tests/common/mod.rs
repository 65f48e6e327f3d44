//! Assets to write, which are small and have everything.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::f32::consts::TAU;

use image::RgbImage;
use trellis_asset::{Gaussians, Mesh, Paint};

/// A ring with coloured vertices: `around` × `across` quads, not symmetrical along any axis.
pub(crate) fn ring(around: u32, across: u32) -> Mesh {
    let (vertices, _) = ring_vertices(around, across, [around, across]);
    let colors = vertices.iter().map(|[x, y, z]| [x + 0.5, y + 0.5, 2.0 * z + 0.5]).collect();
    let quad = |u: u32, v: u32| {
        let at = |u: u32, v: u32| u % around * across + v % across;
        let (a, b, c, d) = (at(u, v), at(u + 1, v), at(u + 1, v + 1), at(u, v + 1));
        [[a, b, c], [a, c, d]]
    };
    let faces = (0..around).flat_map(|u| (0..across).flat_map(move |v| quad(u, v))).collect();
    Mesh::new(vertices, faces, Paint::Vertices(colors))
}

/// The same with a texture: its seams have vertices twice.
pub(crate) fn textured_ring(around: u32, across: u32, side: u32) -> Mesh {
    let (vertices, coordinates) = ring_vertices(around + 1, across + 1, [around, across]);
    let row = across + 1;
    let quad = |u: u32, v: u32| {
        let (a, b, c, d) = (u * row + v, (u + 1) * row + v, (u + 1) * row + v + 1, u * row + v + 1);
        [[a, b, c], [a, c, d]]
    };
    let faces = (0..around).flat_map(|u| (0..across).flat_map(move |v| quad(u, v))).collect();
    let picture = RgbImage::from_fn(side, side, |column, row| {
        let checker = if (column * 16 / side + row * 8 / side).is_multiple_of(2) { 230 } else { 90 };
        [checker, (column * 255 / side) as u8, (row * 255 / side) as u8].into()
    });
    Mesh::new(vertices, faces, Paint::Texture { coordinates, picture })
}

/// Vertices of a ring that closes after `whole` of them, and their places in a picture.
fn ring_vertices(around: u32, across: u32, whole: [u32; 2]) -> (Vec<[f32; 3]>, Vec<[f32; 2]>) {
    let place = |u: u32, v: u32| [u as f32 / whole[0] as f32, v as f32 / whole[1] as f32];
    let coordinates: Vec<[f32; 2]> =
        (0..around).flat_map(|u| (0..across).map(move |v| place(u, v))).collect();
    let vertex = |[u, v]: &[f32; 2]| {
        // The last vertices lie exactly on the first.
        let (a, b) = (u.fract() * TAU, v.fract() * TAU);
        let (thickness, radius) = (0.1 + 0.05 * a.sin(), 0.33 + (0.1 + 0.05 * a.sin()) * b.cos());
        [radius * a.cos(), radius * a.sin() * 0.8, thickness * b.sin()]
    };
    (coordinates.iter().map(vertex).collect(), coordinates)
}

/// Gaussians that lie on the ring's surface.
pub(crate) fn cloud(count: u32) -> Gaussians {
    let mut gaussians = Gaussians::default();
    for index in 0..count {
        let a = index as f32 * 2.399_963;
        let b = index as f32 * 0.731;
        let radius = 0.33 + 0.12 * b.cos();
        let [x, y, z] = [radius * a.cos(), radius * a.sin(), 0.12 * b.sin()];
        gaussians.positions.push([x, y, z]);
        gaussians.harmonics.push([2.0 * x, 2.0 * y, 6.0 * z]);
        gaussians.opacities.push(0.3 + 0.65 * (index % 7) as f32 / 6.0);
        gaussians.scales.push([0.02, 0.01, 0.004]);
        gaussians.rotations.push([1.0, 0.4 * a.sin(), -0.7 * b.cos(), 0.3]);
    }
    gaussians
}
