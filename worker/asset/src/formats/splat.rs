//! `.splat`, the format of the first viewer for web browsers (<https://github.com/antimatter15/splat>): of each Gaussian 32 bytes, the most visible
//! first. Positions and standard deviations are floats, sRGB colour with opacity and the orientation bytes. The axes are those of the PLY files that
//! it is made from: y down.

use super::Format;
use super::check::{self, damaged, read_gaussians};
use super::ply::Axes;
use crate::gaussians::Turn;
use crate::{Gaussians, Result};

const BYTES: usize = 32;

pub(super) fn write(gaussians: &Gaussians) -> Vec<u8> {
    let turn = Axes::YDown.turn();
    let mut order: Vec<usize> = (0..gaussians.positions.len()).collect();
    order.sort_by(|&a, &b| visibility(gaussians, b).total_cmp(&visibility(gaussians, a)));
    let mut file = Vec::with_capacity(order.len() * BYTES);
    for index in order {
        file.extend_from_slice(bytemuck::bytes_of(&turn.position(gaussians.positions[index])));
        file.extend_from_slice(bytemuck::bytes_of(&gaussians.scales[index]));
        file.extend(gaussians.color(index).map(|value| byte(value * 255.0)));
        file.push(byte(gaussians.opacities[index] * 255.0));
        file.extend(turn.rotation(gaussians.rotations[index]).map(|value| byte(value * 128.0 + 128.0)));
    }
    file
}

/// Volume times opacity: viewers that load the file piece by piece show much early.
fn visibility(gaussians: &Gaussians, index: usize) -> f32 {
    gaussians.scales[index].iter().product::<f32>() * gaussians.opacities[index]
}

fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

pub(super) fn read(bytes: &[u8]) -> Result<Gaussians> {
    let (rows, rest) = bytes.as_chunks::<BYTES>();
    if !rest.is_empty() {
        return Err(damaged(Format::Splat, format_args!("its length is no multiple of {BYTES} bytes")));
    }
    check::count(Format::Splat, "Gaussians", rows.len())?;
    let turn: Turn = Axes::YDown.turn().inverse();
    let mut gaussians = Gaussians::default();
    for row in rows {
        let float = |index: usize| {
            f32::from_le_bytes([row[index * 4], row[index * 4 + 1], row[index * 4 + 2], row[index * 4 + 3]])
        };
        gaussians.positions.push(turn.position([float(0), float(1), float(2)]));
        gaussians.scales.push([float(3), float(4), float(5)]);
        gaussians.push_color([row[24], row[25], row[26]].map(|value| f32::from(value) / 255.0));
        gaussians.opacities.push(f32::from(row[27]) / 255.0);
        let rotation = [row[28], row[29], row[30], row[31]].map(|value| (f32::from(value) - 128.0) / 128.0);
        gaussians.rotations.push(turn.rotation(rotation));
    }
    read_gaussians(Format::Splat, gaussians)
}
