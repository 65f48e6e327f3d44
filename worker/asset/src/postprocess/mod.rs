//! From the surface that a decoder made to one that people use: cleaned, closed and simplified, in the order of the reference's mesh export
//! (SPEC section 8). Every stage ends in seconds on any input and gives the same bytes on any number of threads.

mod clean;
mod components;
mod hidden;
mod holes;
mod simplify;

use std::time::{Duration, Instant};

use crate::{Error, Mesh, Result};

pub(crate) use clean::check;
pub use clean::clean;
pub(crate) use clean::twice_area;
pub use components::without_floaters;
pub use hidden::without_hidden;
pub use holes::close_holes;
pub use simplify::{Simplified, simplify};

/// What is done to a mesh. The default is what the reference's `to_glb` does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Pieces go whose surface is below this share of the largest piece's and that are small beside the whole, see
    /// [`without_floaters`]. 0 keeps them all.
    pub floaters: f32,
    /// Whether pieces go that nothing outside can see, see [`without_hidden`].
    pub hidden: bool,
    /// Holes with at most so many edges are closed, before simplification, see [`close_holes`]. 0 leaves them open.
    ///
    /// The reference closes them after simplification, with a limit that shrinks with the edges' number: 250 · √(1 - ratio).
    pub holes: usize,
    /// How far the mesh is simplified.
    pub simplify: Target,
}

impl Default for Options {
    fn default() -> Self {
        Self { floaters: 0.001, hidden: true, holes: 250, simplify: Target::Ratio(0.95) }
    }
}

/// How far a mesh is simplified.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Not at all.
    Keep,
    /// By removing this share of its faces, 0..1.
    Ratio(f32),
    /// To so many faces.
    Faces(usize),
}

impl Target {
    /// The number of faces that a mesh of `faces` is to have, if it has more than that.
    fn faces(self, faces: usize) -> Result<Option<usize>> {
        let target = match self {
            Self::Keep => return Ok(None),
            Self::Ratio(ratio) if (0.0..1.0).contains(&ratio) => {
                (faces as f64 * (1.0 - f64::from(ratio))).round() as usize
            }
            Self::Ratio(ratio) => {
                return Err(Error::InvalidInput(format!(
                    "the share of faces to remove is at least 0 and below 1, not {ratio}"
                )));
            }
            Self::Faces(0) => {
                return Err(Error::InvalidInput("a mesh cannot be simplified to 0 faces".to_owned()));
            }
            Self::Faces(target) => target,
        };
        Ok((target < faces).then_some(target.max(MIN_FACES)))
    }
}

/// The faces of the least thing with an inside, a tetrahedron.
const MIN_FACES: usize = 4;

/// What was done to a mesh.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Faces of the mesh that was given.
    pub faces_before: usize,
    /// Faces of the result.
    pub faces_after: usize,
    /// Small pieces that were removed.
    pub floaters: usize,
    /// Pieces that were removed because nothing sees them.
    pub hidden: usize,
    /// Holes that were closed.
    pub holes: usize,
    /// How far simplification moved the surface at most, in the mesh's unit of length, as its quadrics estimate it. A change of colour counts
    /// as a displacement, see [`simplify`].
    pub error: f32,
    /// How long each stage took.
    pub stages: Vec<(&'static str, Duration)>,
}

/// Cleans, closes and simplifies a mesh.
///
/// # Errors
/// When an option is out of its range, the mesh is damaged (its lists do not fit together), or no face of it has an area.
pub fn postprocess(mesh: &Mesh, options: &Options) -> Result<(Mesh, Report)> {
    let mut report = Report { faces_before: mesh.faces.len(), ..Report::default() };
    options.simplify.faces(mesh.faces.len())?;
    let mut mesh = timed(&mut report.stages, "clean", || clean(mesh))?;
    if options.floaters > 0.0 {
        report.floaters =
            timed(&mut report.stages, "floaters", || without_floaters(&mut mesh, options.floaters));
    }
    // Holes first: through one, the inside is seen.
    if options.holes > 0 {
        report.holes = timed(&mut report.stages, "holes", || close_holes(&mut mesh, options.holes));
    }
    if options.hidden {
        report.hidden = timed(&mut report.stages, "hidden", || without_hidden(&mut mesh));
    }
    if let Some(target) = options.simplify.faces(report.faces_before)? {
        let simplified = timed(&mut report.stages, "simplify", || simplify(mesh, target));
        (mesh, report.error) = (simplified.mesh, simplified.error);
    }
    mesh = timed(&mut report.stages, "normals", || Mesh::new(mesh.vertices, mesh.faces, mesh.paint));
    report.faces_after = mesh.faces.len();
    Ok((mesh, report))
}

/// Does something and notes how long it took.
pub(crate) fn timed<T>(
    stages: &mut Vec<(&'static str, Duration)>,
    name: &'static str,
    stage: impl FnOnce() -> T,
) -> T {
    let start = Instant::now();
    let result = stage();
    stages.push((name, start.elapsed()));
    result
}
