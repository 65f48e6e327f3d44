//! Damaged files: whatever is changed in one, reading it gives an asset that holds together or an error, and never panics.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{cloud, ring, textured_ring};
use proptest::prelude::*;
use trellis_asset::formats::{self, AssetRef, Format, Options};

/// Small files of all readable formats.
fn files() -> Vec<(Format, Vec<u8>)> {
    let (mesh, textured, gaussians) = (ring(5, 4), textured_ring(4, 3, 4), cloud(6));
    let assets: [AssetRef<'_>; 3] = [(&mesh).into(), (&textured).into(), (&gaussians).into()];
    let mut files = vec![];
    for format in Format::ALL.into_iter().filter(|format| format.is_readable()) {
        for asset in assets.into_iter().filter(|asset| format.holds(*asset)) {
            for compress in [false, true] {
                files.push((
                    format,
                    formats::write(asset, format, &Options { compress, ..Options::default() }).unwrap(),
                ));
            }
        }
    }
    files.push((
        Format::Obj,
        b"v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\no a\nf 1/1/1 2/1/1 3/1/1\nf -1 -2 -3\n".to_vec(),
    ));
    files.push((Format::Stl, b"solid\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendsolid\n".to_vec()));
    files.push((Format::Ply, b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n".to_vec()));
    files
}

/// One thing done to a file.
#[derive(Debug, Clone)]
enum Change {
    Byte(prop::sample::Index, u8),
    /// Four bytes to a number at which sizes overflow.
    Word(prop::sample::Index, u32),
    Digit(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let word = prop::sample::select(vec![
        0,
        1,
        0x7F,
        0xFFFF,
        0x7FFF_FFFF,
        0x8000_0000,
        u32::MAX,
        0x7FC0_0000,
        0xFF80_0000,
    ]);
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        3 => (at(), word).prop_map(|(at, word)| Change::Word(at, word)),
        3 => (at(), b'0'..=b'9').prop_map(|(at, digit)| Change::Digit(at, digit)),
        1 => at().prop_map(Change::Cut),
        1 => (at(), 1..64usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    if file.is_empty() {
        return;
    }
    match change {
        Change::Byte(at, byte) => *at.get_mut(file) = *byte,
        Change::Word(at, word) => {
            let at = at.index(file.len());
            word.to_le_bytes().iter().zip(&mut file[at..]).for_each(|(byte, place)| *place = *byte);
        }
        Change::Digit(at, digit) => {
            let digits: Vec<usize> = (0..file.len()).filter(|&index| file[index].is_ascii_digit()).collect();
            if !digits.is_empty() {
                file[*at.get(&digits)] = *digit;
            }
        }
        Change::Cut(at) => file.truncate(at.index(file.len())),
        Change::Repeat(at, length) => {
            let at = at.index(file.len());
            let part = file[at..(at + length).min(file.len())].to_vec();
            file.splice(at..at, part);
        }
    }
}

/// Reads a file; what comes of it can be written and drawn.
fn read(bytes: &[u8], format: Format) {
    if let Ok(asset) = formats::read(bytes, format) {
        let format = if Format::Ply.holds((&asset).into()) { Format::Ply } else { Format::Glb };
        formats::write(&asset, format, &Options::default()).unwrap();
    }
}

proptest! {
    // `PROPTEST_CASES=100000 cargo test -p trellis-asset --test hostile` looks longer.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn damaged_files_are_read_or_refused(file in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 1..5)) {
        thread_local!(static FILES: Vec<(Format, Vec<u8>)> = files());
        let (format, mut bytes) = FILES.with(|files| file.get(files).clone());
        changes.iter().for_each(|change| apply(&mut bytes, change));
        read(&bytes, format);
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), format in 0..Format::ALL.len()) {
        read(&bytes, Format::ALL[format]);
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_or_read() {
    for (format, file) in files() {
        for length in (0..file.len()).step_by(1 + file.len() / 400) {
            read(&file[..length], format);
        }
    }
}
