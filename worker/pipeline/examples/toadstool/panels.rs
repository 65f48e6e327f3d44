//! One picture of the steps: the asset large, and beside it the surface as extracted, its simplified faces, its texture, and the asset from behind.

use image::imageops::{self, FilterType};
use image::{RgbImage, RgbaImage};
use trellis::Result;
use trellis::asset::render::{self, View};
use trellis::asset::{Mesh, Paint};

/// Side of a small panel in pixels.
const SIDE: u32 = 320;
const GAP: u32 = 8;
/// Grey that faces are shown in.
const CLAY: u8 = 205;
const LINE: u8 = 70;
/// Half the width of a line between faces.
const LINE_WIDTH: f32 = 0.0007;
/// What the picture of a line spans.
const LINE_SPAN: f32 = 0.01;

/// The picture, transparent around the panels.
///
/// # Errors
/// When there is nothing to see.
pub(crate) fn picture(extracted: &Mesh, finished: &Mesh) -> Result<RgbaImage> {
    let front = View { size: SIDE, azimuth: 28.0, elevation: 5.0 };
    let large = View { size: 2 * SIDE + GAP, ..front };
    let behind = View { azimuth: 205.0, elevation: 16.0, ..front };
    let clay = Mesh {
        paint: Paint::Vertices(vec![[f32::from(CLAY) / 255.0; 3]; extracted.vertices.len()]),
        ..extracted.clone()
    };
    let small = [
        render::picture(&clay, &front)?,
        render::picture(&with_lines(finished), &front)?,
        texture(finished),
        render::picture(finished, &behind)?,
    ];
    let step = SIDE + GAP;
    let mut all = RgbaImage::new(2 * step + 2 * SIDE + GAP, 2 * SIDE + GAP);
    imageops::replace(&mut all, &render::picture(finished, &large)?, 0, 0);
    for (index, panel) in small.iter().enumerate() {
        let (column, row) = (2 + index as u32 % 2, index as u32 / 2);
        imageops::replace(&mut all, panel, i64::from(column * step), i64::from(row * step));
    }
    Ok(all)
}

fn texture(mesh: &Mesh) -> RgbaImage {
    let Paint::Texture { picture, .. } = &mesh.paint else { return RgbaImage::new(SIDE, SIDE) };
    let small = imageops::resize(picture, SIDE, SIDE, FilterType::Triangle);
    image::DynamicImage::ImageRgb8(small).to_rgba8()
}

/// The faces, flat and each with a line around it. Each is divided at the middle of its inscribed circle, so that in every part the distance from
/// the face's edge is linear, and the place in a picture of a line.
fn with_lines(mesh: &Mesh) -> Mesh {
    let (mut vertices, mut normals, mut coordinates) = (vec![], vec![], vec![]);
    for face in &mesh.faces {
        let corners = face.map(|vertex| mesh.vertices[vertex as usize]);
        let Some((middle, radius, normal)) = inscribed(corners) else { continue };
        for side in 0..3 {
            vertices.extend([corners[side], corners[(side + 1) % 3], middle]);
            normals.extend([normal; 3]);
            let edge = 0.5 / LINE_PIXELS as f32;
            coordinates.extend([[edge, 0.5], [edge, 0.5], [edge + (radius / LINE_SPAN).min(0.9), 0.5]]);
        }
    }
    let faces =
        (0..vertices.len() as u32 / 3).map(|face| [0, 1, 2].map(|corner| face * 3 + corner)).collect();
    let line = |column: u32, _| {
        let share = (column as f32 / LINE_PIXELS as f32 * LINE_SPAN / LINE_WIDTH - 0.5).clamp(0.0, 1.0);
        [(f32::from(LINE) + f32::from(CLAY - LINE) * share) as u8; 3].into()
    };
    let picture = RgbImage::from_fn(LINE_PIXELS, 1, line);
    Mesh { vertices, normals, faces, paint: Paint::Texture { coordinates, picture } }
}

const LINE_PIXELS: u32 = 256;

/// Middle and radius of the circle in a triangle, and its normal; `None` where it has no area.
fn inscribed([a, b, c]: [[f32; 3]; 3]) -> Option<([f32; 3], f32, [f32; 3])> {
    use crate::vector::{length, minus, plus, times};
    let (u, v) = (minus(b, a), minus(c, a));
    let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    let sides = [length(minus(c, b)), length(v), length(u)];
    let (twice_area, around) = (length(cross), sides.iter().sum::<f32>());
    let weighted = plus(plus(times(a, sides[0]), times(b, sides[1])), times(c, sides[2]));
    (twice_area > 0.0)
        .then(|| (times(weighted, 1.0 / around), twice_area / around, times(cross, 1.0 / twice_area)))
}
