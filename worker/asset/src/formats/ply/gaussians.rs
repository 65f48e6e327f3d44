//! Gaussians as the first 3D Gaussian Splatting programs write them: activations undone, normals zero.

use super::super::Format;
use super::super::check::read_gaussians;
use crate::gaussians::Turn;
use crate::{Gaussians, Result};

/// The properties of a Gaussian, in the order of the file.
const PROPERTIES: [&str; 17] = [
    "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1",
    "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
];

/// Where up is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// At -y, as viewers of such files expect it (SPEC section 6).
    YDown,
    /// At z, as in the model.
    ZUp,
}

impl Axes {
    pub(in crate::formats) const fn turn(self) -> Turn {
        match self {
            Self::YDown => Turn::Forwards,
            Self::ZUp => Turn::None,
        }
    }
}

/// The file of Gaussians, byte for byte as the reference writes it.
#[must_use]
pub fn gaussians(gaussians: &Gaussians, axes: Axes) -> Vec<u8> {
    let turn = axes.turn();
    let count = gaussians.positions.len();
    let mut header = format!("ply\nformat binary_little_endian 1.0\nelement vertex {count}\n");
    PROPERTIES.iter().for_each(|name| header.extend(["property float ", name, "\n"]));
    header.push_str("end_header\n");
    let mut file = header.into_bytes();
    file.reserve(count * PROPERTIES.len() * 4);
    for index in 0..count {
        let rotation = gaussians.rotations[index];
        let opacity = gaussians.opacities[index];
        file.extend_from_slice(bytemuck::bytes_of(&turn.position(gaussians.positions[index])));
        file.extend_from_slice(bytemuck::bytes_of(&[0.0f32; 3]));
        file.extend_from_slice(bytemuck::bytes_of(&gaussians.harmonics[index]));
        file.extend_from_slice(bytemuck::bytes_of(&logit(opacity)));
        file.extend_from_slice(bytemuck::bytes_of(&gaussians.scales[index].map(log)));
        let turned = if turn == Turn::None { rotation } else { turn.rotation(rotation) };
        file.extend_from_slice(bytemuck::bytes_of(&turned));
    }
    file
}

/// The inverse of the logistic function, in single precision as the reference has it. At 0 and 1 it stays finite.
fn logit(opacity: f32) -> f32 {
    let opacity = opacity.clamp(f32::MIN_POSITIVE, 1.0 - f32::EPSILON / 2.0);
    log(opacity / (1.0 - opacity))
}

fn log(value: f32) -> f32 {
    value.max(f32::MIN_POSITIVE).ln()
}

/// Whether properties of these names are those of Gaussians.
pub(super) fn are_gaussians(names: &[&str]) -> bool {
    ["f_dc_0", "opacity", "scale_0", "rot_0"].iter().all(|name| names.contains(name))
}

/// Gaussians from the columns of a file, y down. `column` gives that of a property.
pub(super) fn from_columns<'a>(mut column: impl FnMut(&str) -> Result<&'a [f32]>) -> Result<Gaussians> {
    let turn = Axes::YDown.turn().inverse();
    let mut columns = |names: &[&str]| names.iter().map(|name| column(name)).collect::<Result<Vec<_>>>();
    let positions = columns(&["x", "y", "z"])?;
    let harmonics = columns(&["f_dc_0", "f_dc_1", "f_dc_2"])?;
    let opacities = columns(&["opacity"])?;
    let scales = columns(&["scale_0", "scale_1", "scale_2"])?;
    let rotations = columns(&["rot_0", "rot_1", "rot_2", "rot_3"])?;
    let rows = 0..positions[0].len();
    let gaussians = Gaussians {
        positions: rows.clone().map(|row| turn.position(vector(&positions, row))).collect(),
        harmonics: rows.clone().map(|row| vector(&harmonics, row)).collect(),
        opacities: rows.clone().map(|row| 1.0 / (1.0 + (-opacities[0][row]).exp())).collect(),
        scales: rows.clone().map(|row| vector::<3>(&scales, row).map(f32::exp)).collect(),
        rotations: rows.map(|row| turn.rotation(vector(&rotations, row))).collect(),
    };
    read_gaussians(Format::Ply, gaussians)
}

fn vector<const N: usize>(columns: &[&[f32]], row: usize) -> [f32; N] {
    std::array::from_fn(|axis| columns[axis][row])
}
