//! Moving pictures: animated WebP (<https://developers.google.com/speed/webp/docs/riff_container>). Frames are encoded each on its own, on all cores,
//! and put into one container.

use image::RgbaImage;
use rayon::prelude::*;
use webp::{Encoder, WebPConfig};

use crate::{Error, Result};

/// Of 100.
const QUALITY: f32 = 82.0;
/// Of 6: more takes longer and saves little.
const EFFORT: i32 = 3;
const HAS_ALPHA: u8 = 0x10;
const HAS_ANIMATION: u8 = 0x02;
/// A frame replaces what was there, and is taken away before the next.
const REPLACE: u8 = 0b11;

/// The WebP file of pictures of one size that follow each other, over and over.
///
/// # Errors
/// When there is none, they differ in size, or `frames_per_second` is not 1 to 100.
pub fn animation(frames: &[RgbaImage], frames_per_second: f32) -> Result<Vec<u8>> {
    let first = frames.first().ok_or(Error::Empty("no frames"))?;
    let (width, height) = first.dimensions();
    if frames.iter().any(|frame| frame.dimensions() != (width, height)) {
        return Err(Error::InvalidInput("the frames of an animation have one size".to_owned()));
    }
    if !(1.0..=100.0).contains(&frames_per_second) {
        return Err(Error::InvalidInput("an animation has 1 to 100 frames a second".to_owned()));
    }
    let still: Vec<Vec<u8>> = frames.par_iter().map(still).collect::<Result<_>>()?;
    let size = [u24(width - 1), u24(height - 1)].concat();
    let mut body = b"WEBP".to_vec();
    chunk(&mut body, b"VP8X", &[&[HAS_ALPHA | HAS_ANIMATION, 0, 0, 0], size.as_slice()].concat());
    // A background that viewers pass over, and as many rounds as the viewer likes.
    chunk(&mut body, b"ANIM", &[0; 6]);
    // Times are whole milliseconds: what one frame rounds away the next makes good.
    let time = |frame: usize| (frame as f32 * 1000.0 / frames_per_second).round() as u32;
    for (index, file) in still.iter().enumerate() {
        let duration = u24(time(index + 1) - time(index));
        let head = [[0; 6].as_slice(), &size, &duration, &[REPLACE]].concat();
        chunk(&mut body, b"ANMF", &[head, picture_chunks(file)].concat());
    }
    let mut file = b"RIFF".to_vec();
    file.extend_from_slice(&(body.len() as u32).to_le_bytes());
    file.append(&mut body);
    Ok(file)
}

/// The WebP file of one picture.
pub(super) fn still(picture: &RgbaImage) -> Result<Vec<u8>> {
    let failed = || Error::InvalidInput("the picture could not be written as WebP".to_owned());
    let mut config = WebPConfig::new().map_err(|()| failed())?;
    config.quality = QUALITY;
    config.method = EFFORT;
    let encoder = Encoder::from_rgba(picture.as_raw(), picture.width(), picture.height());
    Ok(encoder.encode_advanced(&config).map_err(|_| failed())?.to_vec())
}

/// The chunks of a file with one picture that hold the picture: alpha and colours.
fn picture_chunks(file: &[u8]) -> Vec<u8> {
    let mut chunks = vec![];
    let mut rest = file.get(12..).unwrap_or_default();
    while let Some((head, content)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let length = length.next_multiple_of(2).min(content.len());
        if matches!(&head[..4], b"ALPH" | b"VP8 " | b"VP8L") {
            chunks.extend_from_slice(head);
            chunks.extend_from_slice(&content[..length]);
        }
        rest = &content[length..];
    }
    chunks
}

fn chunk(file: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    file.extend_from_slice(name);
    file.extend_from_slice(&(content.len() as u32).to_le_bytes());
    file.extend_from_slice(content);
    if content.len() % 2 == 1 {
        file.push(0);
    }
}

fn u24(value: u32) -> Vec<u8> {
    value.to_le_bytes()[..3].to_vec()
}
