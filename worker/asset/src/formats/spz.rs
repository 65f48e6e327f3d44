//! SPZ by Niantic (<https://github.com/nianticlabs/spz>), version 3: 20 bytes a Gaussian, column by column, gzipped; versions 2 and 3 are read.
//! Its axes are y up, z towards the viewer.

use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};

use super::Format;
use super::check::{self, damaged, read_gaussians};
use crate::gaussians::Turn;
use crate::{Error, Gaussians, Result};

const MAGIC: &[u8; 4] = b"NGSP";
const VERSION: u32 = 3;
const HEADER: usize = 16;
/// Colours are stored around grey, in a range wider than 0..1.
const COLOR_SCALE: f32 = 0.15;
/// The only flag that readers may pass over.
const ANTIALIASED: u8 = 1;
/// Spherical harmonics of each degree beyond the first, of one channel.
const MORE_HARMONICS: [usize; 5] = [0, 3, 8, 15, 24];
const LARGEST_FRACTION: u8 = 22;

pub(super) fn write(gaussians: &Gaussians) -> Result<Vec<u8>> {
    let turn = Turn::Backwards;
    let count = u32::try_from(gaussians.positions.len())
        .map_err(|_| Error::InvalidInput("there are too many Gaussians for an spz file".to_owned()))?;
    let bits = fraction_bits(gaussians)?;
    let mut body = Vec::with_capacity(HEADER + gaussians.positions.len() * 20);
    body.extend_from_slice(MAGIC);
    body.extend_from_slice(&VERSION.to_le_bytes());
    body.extend_from_slice(&count.to_le_bytes());
    body.extend_from_slice(&[0, bits, 0, 0]);
    for position in &gaussians.positions {
        for value in turn.position(*position) {
            let fixed = (f64::from(value) * f64::from(1u32 << bits)).round() as i32;
            body.extend_from_slice(&fixed.to_le_bytes()[..3]);
        }
    }
    body.extend(gaussians.opacities.iter().map(|opacity| byte(opacity * 255.0)));
    body.extend(
        gaussians.harmonics.as_flattened().iter().map(|value| byte(value * (COLOR_SCALE * 255.0) + 127.5)),
    );
    body.extend(gaussians.scales.as_flattened().iter().map(|scale| byte((scale.ln() + 10.0) * 16.0)));
    body.extend(gaussians.rotations.iter().flat_map(|rotation| pack(turn.rotation(*rotation)).to_le_bytes()));

    // No name and no time: the bytes depend on the Gaussians alone.
    let mut file = GzBuilder::new().write(vec![], Compression::default());
    let written = file.write_all(&body).and_then(|()| file.finish());
    written.map_err(|error| Error::InvalidInput(format!("the spz file could not be written: {error}")))
}

/// As many binary places as leave room for the farthest position in 24 bits.
fn fraction_bits(gaussians: &Gaussians) -> Result<u8> {
    let farthest =
        gaussians.positions.as_flattened().iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let fits = |bits: &u8| f64::from(farthest) * f64::from(1u32 << bits) < f64::from((1 << 23) - 1);
    (0..=LARGEST_FRACTION).rev().find(fits).ok_or_else(|| {
        Error::InvalidInput("the Gaussians reach farther than an spz file can hold (8388607)".to_owned())
    })
}

fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Of w, x, y, z, of length 1 and with the largest positive: the place of the largest among x, y, z, w in two bits, the others in ten each, nine of
/// size and one of sign.
fn pack([w, x, y, z]: [f32; 4]) -> u32 {
    let parts = [x, y, z, w];
    let largest =
        (1..4).fold(0, |best, index| if parts[index].abs() > parts[best].abs() { index } else { best });
    let flip = parts[largest] < 0.0;
    let mut packed = largest as u32;
    for (index, part) in parts.iter().enumerate() {
        if index != largest {
            let size = (511.0 * (part.abs() * std::f32::consts::SQRT_2) + 0.5) as u32;
            packed = packed << 10 | u32::from((*part < 0.0) != flip) << 9 | size.min(511);
        }
    }
    packed
}

fn unpack(packed: u32) -> [f32; 4] {
    let largest = (packed >> 30) as usize;
    let mut parts = [0.0f32; 4];
    let mut rest = packed;
    for index in (0..4).rev().filter(|&index| index != largest) {
        let size = (rest & 511) as f32 / 511.0 * std::f32::consts::FRAC_1_SQRT_2;
        parts[index] = if rest & 512 == 0 { size } else { -size };
        rest >>= 10;
    }
    parts[largest] = (1.0 - parts.iter().map(|part| part * part).sum::<f32>()).max(0.0).sqrt();
    let [x, y, z, w] = parts;
    [w, x, y, z]
}

/// As version 2 has it: x, y and z as bytes, w what is left of the length 1.
fn unpack_bytes(bytes: &[u8]) -> [f32; 4] {
    let [x, y, z] = [0, 1, 2].map(|axis| f32::from(bytes[axis]) / 127.5 - 1.0);
    [(1.0 - x * x - y * y - z * z).max(0.0).sqrt(), x, y, z]
}

pub(super) fn read(bytes: &[u8]) -> Result<Gaussians> {
    let broken = |what: &str| damaged(Format::Spz, what);
    let mut unpacked = GzDecoder::new(bytes);
    let mut header = [0; HEADER];
    unpacked.read_exact(&mut header).map_err(|error| damaged(Format::Spz, error))?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(MAGIC) {
        return Err(broken("it does not begin as one"));
    }
    let version = word(4);
    if !(2..=3).contains(&version) {
        return Err(damaged(Format::Spz, format_args!("it is of version {version}; 2 and 3 are supported")));
    }
    let [degree, bits, flags, _] = [header[12], header[13], header[14], header[15]];
    let more = *MORE_HARMONICS
        .get(usize::from(degree))
        .ok_or_else(|| broken("its harmonics are of an unknown degree"))?;
    if bits > 31 || flags & !ANTIALIASED != 0 {
        return Err(broken("it has extensions, which are not supported"));
    }
    let count = check::count(Format::Spz, "Gaussians", word(8) as usize)?;
    let rotation = if version == 2 { 3 } else { 4 };
    // What follows is less than declared if the file is cut, and may be more if it is a bomb; neither is unpacked further than declared.
    let length = count * (9 + 1 + 3 + 3 + rotation + more * 3);
    let mut body = vec![];
    unpacked.take(length as u64).read_to_end(&mut body).map_err(|error| damaged(Format::Spz, error))?;
    if body.len() < length {
        return Err(broken("it ends before its last Gaussian"));
    }
    read_gaussians(Format::Spz, columns(&body, count, bits, rotation))
}

fn columns(body: &[u8], count: usize, bits: u8, rotation: usize) -> Gaussians {
    let turn = Turn::Backwards.inverse();
    let (positions, rest) = body.split_at(count * 9);
    let (opacities, rest) = rest.split_at(count);
    let (colors, rest) = rest.split_at(count * 3);
    let (scales, rest) = rest.split_at(count * 3);
    let rotations = &rest[..count * rotation];
    let triple = |bytes: &[u8], value: fn(f32) -> f32| [0, 1, 2].map(|axis| value(f32::from(bytes[axis])));
    let unit = 1.0 / f64::from(1u32 << bits);
    let coordinate = |bytes: &[u8]| {
        let fixed = i32::from_le_bytes([0, bytes[0], bytes[1], bytes[2]]) >> 8;
        (f64::from(fixed) * unit) as f32
    };
    let position = |bytes: &[u8]| turn.position([0, 3, 6].map(|at| coordinate(&bytes[at..])));
    let orientation = |bytes: &[u8]| match bytes {
        [a, b, c, d] => unpack(u32::from_le_bytes([*a, *b, *c, *d])),
        bytes => unpack_bytes(bytes),
    };
    Gaussians {
        positions: positions.chunks_exact(9).map(position).collect(),
        harmonics: colors
            .chunks_exact(3)
            .map(|color| triple(color, |value| (value / 255.0 - 0.5) / COLOR_SCALE))
            .collect(),
        opacities: opacities.iter().map(|&opacity| f32::from(opacity) / 255.0).collect(),
        scales: scales
            .chunks_exact(3)
            .map(|scale| triple(scale, |value| (value / 16.0 - 10.0).exp()))
            .collect(),
        rotations: rotations.chunks_exact(rotation).map(|bytes| turn.rotation(orientation(bytes))).collect(),
    }
}
