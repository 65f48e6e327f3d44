//! Texels that show no place of the surface, or one of which no colour is known, from those around them.

use image::RgbImage;
use rayon::prelude::*;

/// A texel: its colour, and whether it has one (255) or not (0).
pub(super) type Filled = [u8; 4];

/// A picture of `size` × `size` texels in which the gaps are closed: over `margin` texels by the mean of the neighbours, which extends the pieces
/// of the surface beyond their borders, then by ever larger means (after Gortler et al., "The Lumigraph", 1996), so that
/// smaller versions of the picture get no foreign colour. Without any colour all is grey.
pub(super) fn fill(mut texels: Vec<Filled>, size: usize, margin: usize) -> RgbImage {
    for _ in 0..margin {
        texels = dilated(&texels, size);
    }
    pull_push(&mut texels, size);
    let bytes = texels.par_iter().flat_map_iter(|&[r, g, b, _]| [r, g, b]).collect();
    RgbImage::from_raw(size as u32, size as u32, bytes).unwrap_or_default()
}

fn dilated(texels: &[Filled], size: usize) -> Vec<Filled> {
    let texel = |index: usize| {
        if texels[index][3] > 0 {
            return texels[index];
        }
        let (x, y) = (index % size, index / size);
        let near = |at: usize| at.saturating_sub(1)..(at + 2).min(size);
        mean(near(y).flat_map(|y| near(x).map(move |x| texels[y * size + x])))
    };
    (0..texels.len()).into_par_iter().map(texel).collect()
}

/// The mean of those that have a colour.
fn mean(texels: impl Iterator<Item = Filled>) -> Filled {
    let (sum, count) = texels.filter(|texel| texel[3] > 0).fold(([0u32; 3], 0), |(sum, count), texel| {
        ([0, 1, 2].map(|channel| sum[channel] + u32::from(texel[channel])), count + 1)
    });
    if count == 0 {
        return [0; 4];
    }
    let [r, g, b] = sum.map(|channel| ((channel + count / 2) / count) as u8);
    [r, g, b, 255]
}

/// Fills gaps with what a picture of half the size has there, whose own gaps are filled in the same way.
fn pull_push(texels: &mut [Filled], size: usize) {
    if texels.par_iter().all(|texel| texel[3] > 0) {
        return;
    }
    if size <= 1 {
        return texels.fill([128, 128, 128, 255]);
    }
    let half = size.div_ceil(2);
    let parent = |index: usize| {
        let (x, y) = (index % half * 2, index / half * 2);
        let pair = |at: usize| at..(at + 2).min(size);
        mean(pair(y).flat_map(|y| pair(x).map(move |x| (x, y))).map(|(x, y)| texels[y * size + x]))
    };
    let mut coarse: Vec<Filled> = (0..half * half).into_par_iter().map(parent).collect();
    pull_push(&mut coarse, half);
    texels.par_iter_mut().enumerate().filter(|(_, texel)| texel[3] == 0).for_each(|(index, texel)| {
        *texel = coarse[index / size / 2 * half + index % size / 2];
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_take_the_colours_beside_them_and_known_texels_stay() {
        let size = 37;
        let known = |index: usize| index.is_multiple_of(11) && index / size < 20;
        let texels: Vec<Filled> = (0..size * size)
            .map(|i| if known(i) { [200, 100, (i / size) as u8, 255] } else { [0; 4] })
            .collect();
        let picture = fill(texels.clone(), size, 2);
        for (index, (pixel, texel)) in picture.pixels().zip(&texels).enumerate() {
            let [r, g, b] = pixel.0;
            assert_eq!((r, g), (200, 100), "texel {index}");
            assert!(texel[3] == 0 || b == texel[2]);
            assert!(index / size < 22 || b >= 8, "texel {index} {b}");
        }
    }

    #[test]
    fn without_any_colour_all_is_grey() {
        assert!(fill(vec![[0; 4]; 25], 5, 4).pixels().all(|pixel| pixel.0 == [128; 3]));
    }
}
