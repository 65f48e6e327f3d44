//! Before and after the network: a photo of bounded size, and the object cut out of it.

use image::{Rgba, RgbaImage};

use crate::image::lanczos;
use crate::image::premultiply;

/// Longest side of a photo whose background is removed, in pixels.
const MAX_SIDE: u32 = 1024;

/// The photo with a longer side of at most 1024 pixels, as the reference shrinks it; its alpha is left out of account.
pub fn shrink(photo: &RgbaImage) -> RgbaImage {
    let (width, height) = photo.dimensions();
    let scale = f64::from(MAX_SIDE) / f64::from(width.max(height));
    if scale >= 1.0 {
        return photo.clone();
    }
    // A side of 20,000 by 10 pixels would shrink to nothing.
    let shrunk = |side: u32| ((f64::from(side) * scale) as u32).max(1);
    let to = (shrunk(width), shrunk(height));
    let pixels = resize(photo, to);
    RgbaImage::from_fn(to.0, to.1, |x, y| {
        let pixel = pixels.get(y as usize * to.0 as usize + x as usize);
        Rgba(pixel.copied().unwrap_or_default())
    })
}

fn resize(photo: &RgbaImage, to: (u32, u32)) -> Vec<lanczos::Pixel> {
    let mut rows = photo.rows();
    let from = (photo.width() as usize, photo.height() as usize);
    lanczos::resize(from, (to.0 as usize, to.1 as usize), |_, row| {
        let pixels = rows.next().into_iter().flatten();
        row.iter_mut().zip(pixels).for_each(|(to, from)| *to = from.0);
    })
}

/// A square mask at the size of the photo.
pub(super) fn fit(mask: &[u8], side: (usize, usize), to: (u32, u32)) -> Vec<u8> {
    let pixels = lanczos::resize(side, (to.0 as usize, to.1 as usize), |y, row| {
        let values = mask.iter().skip(y * side.0);
        row.iter_mut().zip(values).for_each(|(pixel, value)| pixel[3] = *value);
    });
    pixels.into_iter().map(|pixel| pixel[3]).collect()
}

/// The photo under the mask, one value a pixel, on transparent black.
pub(super) fn cut_out(photo: &RgbaImage, mask: &[u8]) -> RgbaImage {
    let mut object = photo.clone();
    for (pixel, &alpha) in object.pixels_mut().zip(mask) {
        let [r, g, b, _] = pixel.0;
        pixel.0 = premultiply([r, g, b, alpha]);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_of_any_shape_keeps_at_least_a_pixel() {
        let line = RgbaImage::from_pixel(8000, 2, Rgba([9, 8, 7, 255]));
        assert_eq!(shrink(&line).dimensions(), (1024, 1));
        assert_eq!(shrink(&line).get_pixel(1023, 0).0, [9, 8, 7, 255]);
        assert_eq!(shrink(&RgbaImage::new(1024, 3)).dimensions(), (1024, 3));
    }
}
