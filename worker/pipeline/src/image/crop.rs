//! Framing the object: a square around its opaque pixels, resized and put on black (SPEC section 2).

use image::{RgbImage, Rgba, RgbaImage};

use super::SIDE;
use super::lanczos::{self, Pixel};
use crate::{Error, Result};

/// Pixels with more alpha than this belong to the object.
const OBJECT_ALPHA: u8 = 204;
/// Side of the crop over the longest extent of the object.
const MARGIN: f64 = 1.2;

/// Frames the object that stands out by transparency, as the reference's `preprocess_image` does: 518×518 on black.
///
/// # Errors
/// [`Error::InvalidInput`] when the image shows no object of at least two pixels.
pub fn preprocess(image: &RgbaImage) -> Result<RgbImage> {
    let square = Square::around_object(image).ok_or_else(|| {
        Error::InvalidInput(
            "the image shows no object: fewer than two pixels across are opaque; send an image whose object is opaque \
             and whose background is transparent"
                .into(),
        )
    })?;
    Ok(on_black(&square.resized(image)))
}

/// A square of the image, which may reach beyond its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Square {
    left: i64,
    top: i64,
    side: usize,
}

impl Square {
    fn around_object(image: &RgbaImage) -> Option<Self> {
        let object = image.enumerate_pixels().filter(|(.., pixel)| pixel[3] > OBJECT_ALPHA);
        let (left, top, right, bottom) =
            object.fold(None, |bounds: Option<(u32, u32, u32, u32)>, (x, y, _)| {
                let (left, top, right, bottom) = bounds.unwrap_or((x, y, x, y));
                Some((left.min(x), top.min(y), right.max(x), bottom.max(y)))
            })?;
        let extent = (right - left).max(bottom - top);
        let half = ((f64::from(extent) * MARGIN) as u32) / 2;
        // The centre may lie between two pixels; both corners are then rounded to the even neighbour.
        let corner =
            |low: u32, high: u32| (f64::from(low + high) / 2.0 - f64::from(half)).round_ties_even() as i64;
        (half > 0).then(|| Self {
            left: corner(left, right),
            top: corner(top, bottom),
            side: 2 * half as usize,
        })
    }

    /// The square at 518×518, with straight alpha.
    fn resized(self, image: &RgbaImage) -> Vec<Pixel> {
        let side = SIDE as usize;
        if self.side == side {
            let mut pixels = vec![Pixel::default(); side * side];
            pixels.chunks_exact_mut(side).enumerate().for_each(|(y, row)| self.read_row(image, y, row));
            return pixels;
        }
        let premultiplied = lanczos::resize((self.side, self.side), (side, side), |y, row| {
            self.read_row(image, y, row);
            row.iter_mut().for_each(|pixel| *pixel = premultiply(*pixel));
        });
        premultiplied.into_iter().map(unmultiply).collect()
    }

    /// Row `y` of the square; transparent black outside of the image.
    fn read_row(self, image: &RgbaImage, y: usize, row: &mut [Pixel]) {
        let inside = |x: i64, y: i64| image.get_pixel_checked(u32::try_from(x).ok()?, u32::try_from(y).ok()?);
        for (x, pixel) in row.iter_mut().enumerate() {
            let source = inside(self.left + x as i64, self.top + y as i64);
            *pixel = source.map_or(Pixel::default(), |Rgba(pixel)| *pixel);
        }
    }
}

/// Color times alpha, rounded as Pillow's RGBA to RGBa conversion does.
pub(crate) fn premultiply([r, g, b, a]: Pixel) -> Pixel {
    let scale = |value: u8| {
        let product = u32::from(value) * u32::from(a) + 128;
        (((product >> 8) + product) >> 8) as u8
    };
    [scale(r), scale(g), scale(b), a]
}

/// Color over alpha, truncated as Pillow's RGBa to RGBA conversion does.
fn unmultiply([r, g, b, a]: Pixel) -> Pixel {
    if a == 0 || a == 255 {
        return [r, g, b, a];
    }
    let scale = |value: u8| (u32::from(value) * 255 / u32::from(a)).min(255) as u8;
    [scale(r), scale(g), scale(b), a]
}

fn on_black(pixels: &[Pixel]) -> RgbImage {
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let index = y as usize * SIDE as usize + x as usize;
        let [r, g, b, a] = pixels.get(index).copied().unwrap_or_default();
        let blend = |value: u8| (f32::from(value) / 255.0 * (f32::from(a) / 255.0) * 255.0) as u8;
        image::Rgb([blend(r), blend(g), blend(b)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(image: &RgbaImage) -> String {
        match preprocess(image) {
            Err(Error::InvalidInput(message)) => message,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn an_image_without_an_object_is_refused() {
        let transparent = RgbaImage::new(30, 20);
        let faint = RgbaImage::from_pixel(30, 20, Rgba([9, 9, 9, 204]));
        let mut dot = RgbaImage::new(1000, 1000);
        dot.put_pixel(500, 500, Rgba([255; 4]));
        for image in [transparent, faint, dot, RgbaImage::new(1, 1)] {
            assert!(refused(&image).contains("no object"));
        }
    }

    #[test]
    fn corners_between_two_pixels_go_to_the_even_one() {
        let mut image = RgbaImage::new(40, 40);
        for (x, y) in [(10, 10), (21, 15)] {
            image.put_pixel(x, y, Rgba([255; 4]));
        }
        // Extent 11, side trunc(13.2) = 13, half 6; centre (15.5, 12.5) less 6 is (9.5, 6.5).
        assert_eq!(Square::around_object(&image), Some(Square { left: 10, top: 6, side: 12 }));
    }
}
