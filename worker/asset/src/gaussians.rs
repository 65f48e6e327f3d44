//! Gaussian splats (Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", 2023), without dependence on the
//! direction of view.

/// The constant spherical harmonic, 1 / (2 √π).
pub const HARMONIC: f32 = 0.282_094_8;

/// Gaussians in the model's frame, all lists of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gaussians {
    /// Centres.
    pub positions: Vec<[f32; 3]>,
    /// Colours as coefficients of degree 0 of spherical harmonics: sRGB = ½ + 0.28209479177387814 · c.
    pub harmonics: Vec<[f32; 3]>,
    /// Opacities, 0..1.
    pub opacities: Vec<f32>,
    /// Standard deviations along the three own axes.
    pub scales: Vec<[f32; 3]>,
    /// Orientations: quaternions w, x, y, z, not necessarily of length 1.
    pub rotations: Vec<[f32; 4]>,
}

impl Gaussians {
    /// The sRGB colour of one; what its coefficients give may lie outside 0..1.
    pub(crate) fn color(&self, index: usize) -> [f32; 3] {
        self.harmonics[index].map(|coefficient| 0.5 + HARMONIC * coefficient)
    }

    /// Appends the colour of one more.
    pub(crate) fn push_color(&mut self, srgb: [f32; 3]) {
        self.harmonics.push(srgb.map(|value| (value - 0.5) / HARMONIC));
    }
}

/// A turn about the x axis by a multiple of 90 degrees, which is what tells the axes of file formats apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Turn {
    /// None.
    None,
    /// z up becomes y down: (x, -z, y).
    Forwards,
    /// z up becomes y up: (x, z, -y).
    Backwards,
}

impl Turn {
    /// The turn that undoes it.
    pub(crate) const fn inverse(self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Forwards => Self::Backwards,
            Self::Backwards => Self::Forwards,
        }
    }

    /// A turned position.
    pub(crate) const fn position(self, [x, y, z]: [f32; 3]) -> [f32; 3] {
        match self {
            Self::None => [x, y, z],
            Self::Forwards => [x, -z, y],
            Self::Backwards => [x, z, -y],
        }
    }

    /// The rotation matrix of a turned orientation, by rows.
    pub(crate) fn matrix(self, rotation: [f32; 4]) -> [[f64; 3]; 3] {
        let [first, second, third] = matrix(rotation);
        match self {
            Self::None => [first, second, third],
            Self::Forwards => [first, third.map(|x| -x), second],
            Self::Backwards => [first, third, second.map(|x| -x)],
        }
    }

    /// A turned orientation, of length 1, its largest component positive.
    pub(crate) fn rotation(self, rotation: [f32; 4]) -> [f32; 4] {
        quaternion(self.matrix(rotation)).map(|x| x as f32)
    }
}

/// The rotation matrix of a quaternion of any length, by rows. Of one without direction it is that of none. It is computed in single precision in the
/// reference's order of operations, so that what is made of it has the reference's bytes.
fn matrix(rotation: [f32; 4]) -> [[f64; 3]; 3] {
    let length = rotation.iter().map(|x| x * x).sum::<f32>().sqrt();
    let [w, x, y, z] =
        if length.is_normal() { rotation.map(|part| part / length) } else { [1.0, 0.0, 0.0, 0.0] };
    let vector = [x, y, z];
    let square = x * x + y * y + z * z;
    let turned = [[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]];
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            let unit = if row == column { 1.0f32 } else { 0.0 };
            let product = vector[row] * vector[column] - unit * square;
            f64::from(unit + 2.0 * (product + w * turned[row][column]))
        })
    })
}

/// The quaternion of a rotation matrix, its largest component positive: sizes from the diagonal, signs from what is beside it.
fn quaternion(m: [[f64; 3]; 3]) -> [f64; 4] {
    let squares = [
        1.0 + m[0][0] + m[1][1] + m[2][2],
        1.0 + m[0][0] - m[1][1] - m[2][2],
        1.0 - m[0][0] + m[1][1] - m[2][2],
        1.0 - m[0][0] - m[1][1] + m[2][2],
    ];
    let sizes = squares.map(|square| square.max(0.0).sqrt() / 2.0);
    let largest = (1..4).fold(0, |best, index| if squares[index] > squares[best] { index } else { best });
    let (x, y, z) = (m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]);
    let (yz, xz, xy) = (m[2][1] + m[1][2], m[0][2] + m[2][0], m[0][1] + m[1][0]);
    let signs = match largest {
        0 => [1.0, x, y, z],
        1 => [x, 1.0, xy, xz],
        2 => [y, xy, 1.0, yz],
        _ => [z, xz, yz, 1.0],
    };
    let parts: [f64; 4] =
        std::array::from_fn(|part| if signs[part] == 0.0 { 0.0 } else { sizes[part] * signs[part].signum() });
    let length = parts.iter().map(|part| part * part).sum::<f64>().sqrt();
    parts.map(|part| part / length)
}
