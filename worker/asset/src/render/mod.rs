//! Pictures of assets: stills, and turntables that go once around. On the CPU, so that a picture is the same bytes whichever device made the
//! asset, and on however many threads.

mod animation;
mod camera;
mod raster;
mod shade;
mod splat;
mod surface;
mod texture;

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbaImage};
use rayon::prelude::*;

use crate::formats::AssetRef;
use crate::{Error, Result};
use camera::{Camera, Frame};

pub use animation::animation;
pub(crate) use texture::{Texture, vertex_colors};

/// Of a turntable at most.
const MOST_FRAMES: u32 = 720;

/// From where an asset is seen, and how large the picture is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Pixels a side, 1 to 4096.
    pub size: u32,
    /// How far to the right of its front the viewer stands, in degrees.
    pub azimuth: f32,
    /// How far above its middle, in degrees: -90 to 90.
    pub elevation: f32,
}

impl Default for View {
    /// From the front, a little from the right and from above.
    fn default() -> Self {
        Self { size: 512, azimuth: 30.0, elevation: 22.0 }
    }
}

impl View {
    fn check(&self) -> Result<()> {
        if !(1..=4096).contains(&self.size) {
            return Err(Error::InvalidInput(format!(
                "a picture has 1 to 4096 pixels a side, not {}",
                self.size
            )));
        }
        if !self.azimuth.is_finite() || !(-90.0..=90.0).contains(&self.elevation) {
            return Err(Error::InvalidInput("the elevation lies between -90 and 90 degrees".to_owned()));
        }
        Ok(())
    }
}

/// A PNG of `size` × `size` pixels from the usual place, transparent around the object.
///
/// # Errors
/// When there is nothing to see, or `size` is not 1 to 4096.
pub fn preview<'a>(asset: impl Into<AssetRef<'a>>, size: u32) -> Result<Vec<u8>> {
    png(&picture(asset, &View { size, ..View::default() })?)
}

/// A picture, transparent around the object, which just fits.
///
/// # Errors
/// When there is nothing to see, or the view is outside its bounds.
pub fn picture<'a>(asset: impl Into<AssetRef<'a>>, view: &View) -> Result<RgbaImage> {
    view.check()?;
    let asset = Scene::new(asset.into())?;
    let frame = Frame::around(&asset.balls(), &[*view]);
    Ok(asset.draw(&frame, view, STILL_SAMPLES))
}

/// Pictures from `frames` places around the object, the first from that of `view`. The object keeps its size and place.
///
/// # Errors
/// As [`picture`], and when `frames` is not 1 to 720.
pub fn turntable<'a>(asset: impl Into<AssetRef<'a>>, view: &View, frames: u32) -> Result<Vec<RgbaImage>> {
    view.check()?;
    if !(1..=MOST_FRAMES).contains(&frames) {
        return Err(Error::InvalidInput(format!("a turntable has 1 to {MOST_FRAMES} frames, not {frames}")));
    }
    let asset = Scene::new(asset.into())?;
    let step = 360.0 / frames as f32;
    let views: Vec<View> =
        (0..frames).map(|frame| View { azimuth: view.azimuth + step * frame as f32, ..*view }).collect();
    let frame = Frame::around(&asset.balls(), &views);
    Ok(views.par_iter().map(|view| asset.draw(&frame, view, MOVING_SAMPLES)).collect())
}

/// Samples of a pixel on each axis.
const STILL_SAMPLES: usize = 3;
/// Of moving pictures, where nobody counts steps at edges.
const MOVING_SAMPLES: usize = 2;

/// An asset with what does not change from picture to picture.
enum Scene<'a> {
    Surface(surface::Surface<'a>),
    Gaussians(splat::Cloud<'a>),
}

impl<'a> Scene<'a> {
    fn new(asset: AssetRef<'a>) -> Result<Self> {
        crate::formats::check::asset(asset)?;
        Ok(match asset {
            AssetRef::Mesh(mesh) => Self::Surface(surface::Surface::new(mesh)),
            AssetRef::Gaussians(gaussians) => Self::Gaussians(splat::Cloud::new(gaussians)),
        })
    }

    /// What must be in the picture.
    fn balls(&self) -> Vec<camera::Ball> {
        match self {
            Self::Surface(surface) => surface.balls(),
            Self::Gaussians(cloud) => cloud.balls(),
        }
    }

    fn draw(&self, frame: &Frame, view: &View, samples: usize) -> RgbaImage {
        let size = view.size as usize;
        let pixels = match self {
            Self::Surface(surface) => surface.draw(&Camera::new(frame, view, size * samples), size, samples),
            // Gaussians have soft edges of their own.
            Self::Gaussians(cloud) => cloud.draw(&Camera::new(frame, view, size), size),
        };
        RgbaImage::from_fn(view.size, view.size, |column, row| {
            image::Rgba(pixels[row as usize * size + column as usize])
        })
    }
}

/// The PNG file of a picture.
///
/// # Errors
/// When the picture has no pixels.
pub fn png(picture: &RgbaImage) -> Result<Vec<u8>> {
    let mut file = Cursor::new(vec![]);
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Up)
        .write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgba8)
        .map_err(|error| Error::InvalidInput(format!("the picture could not be written: {error}")))?;
    Ok(file.into_inner())
}

/// The WebP file of a picture.
///
/// # Errors
/// When the picture has no pixels.
pub fn webp(picture: &RgbaImage) -> Result<Vec<u8>> {
    animation::still(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gaussians, Mesh, Paint};

    /// A triangle that faces the camera.
    fn triangle() -> Mesh {
        Mesh {
            vertices: vec![[-0.5, 0.0, -0.5], [0.5, 0.0, -0.5], [0.0, 0.0, 0.5]],
            normals: vec![[0.0, -1.0, 0.0]; 3],
            faces: vec![[0, 1, 2]],
            paint: Paint::Vertices(vec![[1.0, 0.0, 0.0]; 3]),
        }
    }

    fn front(size: u32) -> View {
        View { size, azimuth: 0.0, elevation: 0.0 }
    }

    #[test]
    fn a_preview_shows_the_object_on_a_transparent_ground() {
        let file = preview(&triangle(), 64).unwrap();
        assert_eq!(file, preview(&triangle(), 64).unwrap());
        let picture = image::load_from_memory(&file).unwrap().to_rgba8();
        assert_eq!(picture.dimensions(), (64, 64));
        assert_eq!(picture.get_pixel(1, 1).0[3], 0);
        let [r, g, b, a] = picture.get_pixel(32, 40).0;
        assert!(a == 255 && r > 150 && g < 40 && b < 40, "{:?}", [r, g, b, a]);
    }

    #[test]
    fn what_is_nearer_hides_what_is_behind_whatever_the_order() {
        let mut mesh = triangle();
        mesh.vertices.extend(triangle().vertices.iter().map(|[x, _, z]| [*x, 0.3, *z]));
        mesh.normals.extend(triangle().normals);
        mesh.paint = Paint::Vertices([[[1.0, 0.0, 0.0]; 3], [[0.0, 1.0, 0.0]; 3]].concat());
        for faces in [vec![[0, 1, 2], [3, 4, 5]], vec![[3, 4, 5], [0, 1, 2]]] {
            mesh.faces = faces;
            let [r, g, ..] = picture(&mesh, &front(64)).unwrap().get_pixel(32, 40).0;
            assert!(r > 150 && g < 40, "red is in front: {r} {g}");
        }
    }

    #[test]
    fn a_texture_is_seen_the_right_way_round() {
        // Red above, blue below; the quad's upper edge has v = 0.
        let picture =
            image::RgbImage::from_fn(8, 8, |_, row| if row < 4 { [255, 0, 0] } else { [0, 0, 255] }.into());
        let mesh = Mesh {
            vertices: vec![[-0.5, 0.0, -0.5], [0.5, 0.0, -0.5], [0.5, 0.0, 0.5], [-0.5, 0.0, 0.5]],
            normals: vec![[0.0, -1.0, 0.0]; 4],
            faces: vec![[0, 1, 2], [0, 2, 3]],
            paint: Paint::Texture {
                coordinates: vec![[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]],
                picture,
            },
        };
        let seen = super::picture(&mesh, &front(64)).unwrap();
        let [top, bottom] = [16, 48].map(|row| seen.get_pixel(32, row).0);
        assert!(top[0] > 150 && top[2] < 60 && bottom[2] > 150 && bottom[0] < 60, "{top:?} {bottom:?}");
    }

    #[test]
    fn gaussians_hide_each_other_by_depth() {
        let gaussian = |y: f32, color: [f32; 3]| {
            let mut one = Gaussians {
                positions: vec![[0.0, y, 0.0]],
                harmonics: vec![],
                opacities: vec![0.99],
                scales: vec![[0.2; 3]],
                rotations: vec![[1.0, 0.0, 0.0, 0.0]],
            };
            one.push_color(color);
            one
        };
        let (red, green) = (gaussian(-0.3, [1.0, 0.0, 0.0]), gaussian(0.3, [0.0, 1.0, 0.0]));
        let both = Gaussians {
            positions: [green.positions, red.positions].concat(),
            harmonics: [green.harmonics, red.harmonics].concat(),
            opacities: vec![0.99; 2],
            scales: vec![[0.2; 3]; 2],
            rotations: [green.rotations, red.rotations].concat(),
        };
        let seen = picture(&both, &front(64)).unwrap();
        let [r, g, b, a] = seen.get_pixel(32, 32).0;
        assert!(r > 230 && g < 20 && b < 5 && a > 240, "{:?}", [r, g, b, a]);
        assert!(seen.get_pixel(0, 0).0[3] < 10);
        let [r, g, ..] = picture(&both, &View { azimuth: 180.0, ..front(64) }).unwrap().get_pixel(32, 32).0;
        assert!(g > 230 && r < 20, "from behind the other is in front: {r} {g}");
    }

    #[test]
    fn a_turntable_keeps_its_frames_in_order_and_starts_where_it_is_told() {
        let frames = turntable(&triangle(), &front(32), 4).unwrap();
        assert_eq!(frames.len(), 4);
        let covered = |frame: &RgbaImage| frame.pixels().filter(|pixel| pixel.0[3] > 0).count();
        assert!(covered(&frames[0]) > 100 && covered(&frames[2]) > 100);
        assert!(covered(&frames[1]) < 40, "a flat triangle is nothing from its side");
        let file = animation(&frames, 12.0).unwrap();
        assert_eq!(file, animation(&frames, 12.0).unwrap());
    }

    #[test]
    fn one_thread_draws_what_many_draw() {
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let draw = || preview(&triangle(), 200).unwrap();
        assert_eq!(pool(1).install(draw), pool(7).install(draw));
    }

    #[test]
    fn nothing_to_see_and_absurd_sizes_are_refused() {
        assert!(matches!(preview(&Mesh { faces: vec![], ..triangle() }, 64), Err(Error::Empty(_))));
        assert!(matches!(preview(&Gaussians::default(), 64), Err(Error::Empty(_))));
        assert!(matches!(preview(&triangle(), 0), Err(Error::InvalidInput(_))));
        assert!(matches!(preview(&triangle(), 1 << 20), Err(Error::InvalidInput(_))));
        assert!(matches!(turntable(&triangle(), &front(8), 0), Err(Error::InvalidInput(_))));
    }
}
