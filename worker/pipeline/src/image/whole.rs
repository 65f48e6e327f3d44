//! Whether a file has its end. Decoders fill up what is missing of a photo with grey, of which no asset should be made.

use image::ImageFormat;

/// Whether the file is as long as it says. PNG files are not looked at: their decoder notices.
pub(super) fn is_whole(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => ends_jpeg(bytes).is_some(),
        ImageFormat::WebP => ends_riff(bytes).is_some(),
        _ => true,
    }
}

/// Walks from marker to marker (ITU-T T.81, annex B) until that of the end.
fn ends_jpeg(bytes: &[u8]) -> Option<()> {
    // After the marker that starts an image.
    let mut at = 2;
    loop {
        // Inside a scan, 0xff is followed by 0 where it is data, and by RST0..RST7 between intervals.
        at += bytes
            .get(at..)?
            .windows(2)
            .position(|pair| matches!(pair, [0xff, marker] if !matches!(marker, 0 | 0xd0..=0xd7 | 0xff)))?;
        if *bytes.get(at + 1)? == 0xd9 {
            return Some(());
        }
        let length = bytes.get(at + 2..at + 4)?;
        at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
}

/// The length in the header of a RIFF file, within the file.
fn ends_riff(bytes: &[u8]) -> Option<()> {
    let length = bytes.get(4..8)?.try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    bytes.get(8..)?.get(..length).map(|_| ())
}
