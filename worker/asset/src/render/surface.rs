//! Meshes to pixels.

use rayon::prelude::*;

use super::camera::{Ball, Camera};
use super::raster::{Hit, Raster};
use super::shade::{Light, encode};
use super::texture::Texture;
use crate::mesh::{dot, linear_from_srgb, normalised};
use crate::{Mesh, Paint};

/// A mesh with its colours ready to be drawn.
pub(super) struct Surface<'a> {
    mesh: &'a Mesh,
    colors: Colors<'a>,
}

enum Colors<'a> {
    /// Of the vertices, linear.
    Vertices(Vec<[f32; 3]>),
    Texture(&'a [[f32; 2]], Texture<'a>),
}

impl<'a> Surface<'a> {
    pub(super) fn new(mesh: &'a Mesh) -> Self {
        let colors = match &mesh.paint {
            Paint::None => Colors::Vertices(vec![[linear_from_srgb(0.5); 3]; mesh.vertices.len()]),
            Paint::Vertices(colors) => Colors::Vertices(
                colors
                    .par_iter()
                    .map(|color| color.map(|value| linear_from_srgb(value.clamp(0.0, 1.0))))
                    .collect(),
            ),
            Paint::Texture { coordinates, picture } => {
                Colors::Texture(coordinates, Texture::with_levels(picture))
            }
        };
        Self { mesh, colors }
    }

    /// What must be in the picture: the vertices that faces use.
    pub(super) fn balls(&self) -> Vec<Ball> {
        let mut used = vec![false; self.mesh.vertices.len()];
        self.mesh.faces.as_flattened().iter().for_each(|&vertex| used[vertex as usize] = true);
        let ball = |(&centre, used): (&[f32; 3], bool)| used.then_some(Ball { centre, radius: 0.0 });
        self.mesh.vertices.iter().zip(used).filter_map(ball).collect()
    }

    /// Pixels of `samples` × `samples` each: sRGB with straight alpha.
    pub(super) fn draw(&self, camera: &Camera, size: usize, samples: usize) -> Vec<[u8; 4]> {
        let places: Vec<[f32; 3]> =
            self.mesh.vertices.par_iter().map(|&vertex| camera.project(vertex)).collect();
        let raster = Raster::draw(size * samples, &places, &self.mesh.faces);
        let light = Light::beside(camera);
        let sample = |row, column| {
            let hit = raster.hit(row, column, &places, &self.mesh.faces)?;
            Some(self.shade(&hit, &light))
        };
        let pixel = |index: usize| {
            let (row, column) = (index / size * samples, index % size * samples);
            let (mut covered, mut sum) = (0, [0.0f32; 3]);
            for light in
                (0..samples * samples).filter_map(|at| sample(row + at / samples, column + at % samples))
            {
                covered += 1;
                sum = std::array::from_fn(|channel| sum[channel] + light[channel]);
            }
            let [r, g, b] = sum.map(|light| encode(light / covered.max(1) as f32));
            [r, g, b, (covered as f32 / (samples * samples) as f32 * 255.0).round() as u8]
        };
        (0..size * size).into_par_iter().with_min_len(size).map(pixel).collect()
    }

    /// The linear light of what is seen at a sample.
    fn shade(&self, hit: &Hit, light: &Light) -> [f32; 3] {
        let face = self.mesh.faces[hit.face].map(|vertex| vertex as usize);
        let normal = normalised(blend(face.map(|vertex| self.mesh.normals[vertex]), hit.shares))
            .unwrap_or([0.0, 0.0, 1.0]);
        let color = match &self.colors {
            Colors::Vertices(colors) => blend(face.map(|vertex| colors[vertex]), hit.shares),
            Colors::Texture(coordinates, texture) => {
                let corners = face.map(|vertex| coordinates[vertex]);
                texture.sample(blend(corners, hit.shares), texture.level(corners, hit.area))
            }
        };
        light.on(normal, color)
    }
}

fn blend<const N: usize>(corners: [[f32; N]; 3], shares: [f32; 3]) -> [f32; N] {
    std::array::from_fn(|axis| dot([corners[0][axis], corners[1][axis], corners[2][axis]], shares))
}
