//! The colours of a GLB file's parts, brought together.

use image::RgbImage;

use super::accessor::{File, missing};
use super::document::Primitive;
use super::scene::Part;
use crate::mesh::{linear_from_srgb, srgb_from_linear};
use crate::render::Texture;
use crate::{Paint, Result};

/// What is kept of a material: its base colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Material {
    /// Linear.
    pub(super) factor: [f32; 3],
    /// The image of its texture.
    pub(super) image: Option<usize>,
    /// Which of the vertices' places in pictures it uses.
    pub(super) coordinates: usize,
}

const WHITE: [f32; 3] = [1.0; 3];

impl Default for Material {
    fn default() -> Self {
        Self { factor: WHITE, image: None, coordinates: 0 }
    }
}

impl Material {
    pub(super) fn of(file: &File<'_>, primitive: &Primitive) -> Result<Self> {
        let Some(index) = primitive.material else { return Ok(Self::default()) };
        let material = file.document.materials.get(index).ok_or_else(|| missing("material", index))?;
        let surface = &material.pbr_metallic_roughness;
        let [r, g, b, _] = surface.base_color_factor.unwrap_or([1.0; 4]);
        let factor = [r, g, b].map(|value| if value.is_finite() { value.clamp(0.0, 1.0) } else { 1.0 });
        let Some(used) = &surface.base_color_texture else { return Ok(Self { factor, ..Self::default() }) };
        let texture = file.document.textures.get(used.index).ok_or_else(|| missing("texture", used.index))?;
        let webp = texture.extensions.webp.as_ref().and_then(|webp| webp.source);
        Ok(Self { factor, image: webp.or(texture.source), coordinates: used.tex_coord })
    }
}

impl Part {
    /// The image that all of it shows.
    fn image(&self) -> Option<usize> {
        self.material.image.filter(|_| !self.coordinates.is_empty())
    }

    fn is_plain(&self) -> bool {
        self.image().is_none() && self.colors.is_empty() && self.material.factor == WHITE
    }
}

/// The colours of all parts: of one texture if that is all there is, of the vertices otherwise.
pub(super) fn combine(parts: &[Part], picture: &mut dyn FnMut(usize) -> Result<RgbImage>) -> Result<Paint> {
    let Some(first) = parts.first() else { return Ok(Paint::None) };
    let alike = |part: &Part| {
        part.image() == first.image()
            && part.material.factor == first.material.factor
            && part.colors.is_empty()
    };
    if let Some(image) = first.image()
        && parts.iter().all(alike)
    {
        let picture = tinted(picture(image)?, first.material.factor);
        let coordinates = parts.iter().flat_map(|part| part.coordinates.iter().copied()).collect();
        return Ok(Paint::Texture { coordinates, picture });
    }
    if parts.iter().all(Part::is_plain) {
        return Ok(Paint::None);
    }
    let mut colors = vec![];
    // Parts with one image follow each other mostly: one picture is held at a time.
    let mut held: Option<(usize, RgbImage)> = None;
    for part in parts {
        if let Some(image) = part.image()
            && held.as_ref().is_none_or(|(held, _)| *held != image)
        {
            held = Some((image, picture(image)?));
        }
        let texture = part.image().and(held.as_ref()).map(|(_, picture)| Texture::new(picture));
        colors.extend((0..part.vertices.len()).map(|vertex| color(part, texture.as_ref(), vertex)));
    }
    Ok(Paint::Vertices(colors))
}

fn color(part: &Part, texture: Option<&Texture<'_>>, vertex: usize) -> [f32; 3] {
    let texel = texture.map_or(WHITE, |texture| texture.sample(part.coordinates[vertex], 0.0));
    let own = part.colors.get(vertex).copied().unwrap_or(WHITE);
    std::array::from_fn(|channel| {
        srgb_from_linear((part.material.factor[channel] * own[channel] * texel[channel]).clamp(0.0, 1.0))
    })
}

/// The picture times a factor.
fn tinted(mut picture: RgbImage, factor: [f32; 3]) -> RgbImage {
    if factor != WHITE {
        let table = factor.map(|factor| {
            let tint = |byte: usize| srgb_from_linear(linear_from_srgb(byte as f32 / 255.0) * factor);
            std::array::from_fn::<u8, 256, _>(|byte| (tint(byte) * 255.0).round() as u8)
        });
        for texel in picture.pixels_mut() {
            texel.0 = std::array::from_fn(|channel| table[channel][usize::from(texel.0[channel])]);
        }
    }
    picture
}
