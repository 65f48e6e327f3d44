//! Colours out of textures.

use std::borrow::Cow;
use std::sync::LazyLock;

use image::{Rgb, RgbImage};
use rayon::prelude::*;

use crate::Paint;
use crate::mesh::{linear_from_srgb, srgb_from_linear};

static LINEAR: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| linear_from_srgb(byte as f32 / 255.0)));
const STEPS: usize = 1 << 12;
static SRGB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..=STEPS).map(|step| (srgb_from_linear(step as f32 / STEPS as f32) * 255.0).round() as u8).collect()
});

/// A picture, and smaller ones of it for what is far away. It repeats beyond its edges.
pub(crate) struct Texture<'a> {
    /// Each half as large as the one before.
    levels: Vec<Cow<'a, RgbImage>>,
}

impl<'a> Texture<'a> {
    /// A texture that is only looked at closely. The picture has texels.
    pub(crate) fn new(picture: &'a RgbImage) -> Self {
        Self { levels: vec![Cow::Borrowed(picture)] }
    }

    /// A texture for all distances.
    pub(super) fn with_levels(picture: &'a RgbImage) -> Self {
        let mut levels = vec![Cow::Borrowed(picture)];
        while let Some(last) = levels.last().filter(|last| last.width() > 1 && last.height() > 1) {
            let half = halved(last);
            levels.push(Cow::Owned(half));
        }
        Self { levels }
    }

    /// The level in which a texel is about as large as a sample, for a triangle of which twice the area in samples is known.
    pub(super) fn level(&self, [a, b, c]: [[f32; 2]; 3], area: f32) -> f32 {
        let texels = ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])).abs()
            * (self.levels[0].width() * self.levels[0].height()) as f32;
        0.5 * (texels / area.max(f32::MIN_POSITIVE)).max(1.0).log2()
    }

    /// The linear colour at a place, between the four nearest texels of a level.
    pub(crate) fn sample(&self, place: [f32; 2], level: f32) -> [f32; 3] {
        let level = (level.round() as usize).min(self.levels.len() - 1);
        let picture = &self.levels[level];
        let axis = |value: f32, length: u32| {
            let at = value.rem_euclid(1.0) * length as f32 - 0.5;
            let first = at.floor();
            let index = |at: f32| (at.rem_euclid(length as f32) as u32).min(length - 1);
            (index(first), index(first + 1.0), at - first)
        };
        let (left, right, x) = axis(place[0], picture.width());
        let (top, bottom, y) = axis(place[1], picture.height());
        let texel = |column, row| picture.get_pixel(column, row).0.map(|byte| LINEAR[usize::from(byte)]);
        let (a, b, c, d) = (texel(left, top), texel(right, top), texel(left, bottom), texel(right, bottom));
        std::array::from_fn(|channel| {
            let mix = |from: f32, to: f32, share: f32| from + (to - from) * share;
            mix(mix(a[channel], b[channel], x), mix(c[channel], d[channel], x), y)
        })
    }
}

/// Half as large on each axis, averaged in linear light.
fn halved(picture: &RgbImage) -> RgbImage {
    let (width, height) = (picture.width() / 2, picture.height() / 2);
    let row = |row: u32| {
        (0..width).flat_map(move |column| {
            let texels = [(0, 0), (1, 0), (0, 1), (1, 1)]
                .map(|(x, y)| picture.get_pixel(column * 2 + x, row * 2 + y).0);
            std::array::from_fn::<u8, 3, _>(|channel| {
                let sum: f32 = texels.iter().map(|texel| LINEAR[usize::from(texel[channel])]).sum();
                SRGB[(sum / 4.0 * STEPS as f32).round() as usize]
            })
        })
    };
    let bytes: Vec<u8> = (0..height).into_par_iter().flat_map_iter(row).collect();
    RgbImage::from_raw(width, height, bytes).unwrap_or_else(|| RgbImage::from_pixel(1, 1, Rgb([128; 3])))
}

/// The sRGB colour of each vertex.
pub(crate) fn vertex_colors(paint: &Paint) -> Vec<[f32; 3]> {
    match paint {
        Paint::None => vec![],
        Paint::Vertices(colors) => colors.clone(),
        Paint::Texture { coordinates, picture } => {
            let texture = Texture::new(picture);
            coordinates.par_iter().map(|&place| texture.sample(place, 0.0).map(srgb_from_linear)).collect()
        }
    }
}
