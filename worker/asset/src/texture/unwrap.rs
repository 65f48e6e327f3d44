//! A place in a square picture for every face.

use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;
use uvunwrap::{Atlas, Density, MeshInput, Options, OutputVertex, Packing, Progress, Stage};

use super::area;
use super::shelves::Shelves;
use crate::joined::{numbered, representatives};
use crate::postprocess::check;
use crate::{Error, Mesh, Paint, Result};

/// The texels around each piece of the surface: neighbours are twice as far apart, so that filtered look-ups and the first smaller
/// versions of the picture do not mix them.
const PADDING: u32 = 2;
/// A texture has at least so many texels for each face.
const MIN_TEXELS: usize = 4;
/// Of more pieces, the time that it takes to fit their shapes into each other is felt, and so small ones have not much shape.
const MAX_SHAPES: usize = 4096;
/// The same where these are the texels for each piece, most of which margins take.
const MIN_PIECE: usize = 64;
/// A piece has about so many faces at most: the time that it takes to lay one flat grows faster than its faces, and pieces share the cores.
const PIECE_FACES: f64 = 512.0;
/// Pieces that are yet to be laid out are on a table so many times as wide as the square of their area.
const TABLE: f64 = 64.0;

/// The mesh cut into pieces that lie flat in a square of `size` texels a side, without overlaps, each with a margin around it. Vertices at cuts are
/// there once for each piece, with the same normal. The picture is empty: one black texel.
///
/// Margins are narrower if there are so many pieces that their margins alone would fill the square.
///
/// # Errors
/// When the mesh is empty or damaged, or has more faces than a picture of that size can show.
pub fn unwrap(mesh: &Mesh, size: u32) -> Result<Mesh> {
    if mesh.is_empty() {
        return Err(Error::Empty("no surface"));
    }
    check(mesh)?;
    if mesh.faces.len() > size as usize * size as usize / MIN_TEXELS {
        return Err(Error::InvalidInput(format!(
            "{} faces are too many for a texture of {size} × {size}: simplify the mesh or take a larger texture",
            mesh.faces.len()
        )));
    }
    let most = MAX_SHAPES.min(size as usize * size as usize / MIN_PIECE);
    let flat = match fitted(mesh, size, most)? {
        Some(flat) => flat,
        None => shelved(mesh, size)?,
    };
    Ok(flat.mesh(mesh))
}

/// A mesh that lies in a square.
struct Flat {
    /// Of each vertex the one that it was.
    origins: Vec<u32>,
    /// 0..1 from the square's upper left corner.
    coordinates: Vec<[f32; 2]>,
    faces: Vec<[u32; 3]>,
}

impl Flat {
    /// The mesh as an atlas of it has it, a texel being `scale` times as long as it was.
    fn new(atlas: &Atlas, scale: f64) -> Result<Self> {
        let [output] = &atlas.meshes[..] else { return Err(failed("it has no pieces")) };
        let scale = [atlas.width, atlas.height].map(|side| (f64::from(side) * scale) as f32);
        let place = |vertex: &OutputVertex| [vertex.uv[0] * scale[0], vertex.uv[1] * scale[1]];
        let (faces, _) = output.indices.as_chunks::<3>();
        Ok(Self {
            origins: output.vertices.iter().map(|vertex| vertex.xref).collect(),
            coordinates: output.vertices.iter().map(place).collect(),
            faces: faces.to_vec(),
        })
    }

    /// Of each vertex the number of its piece, and how many pieces there are.
    fn pieces(&self) -> (Vec<u32>, usize) {
        let roots = representatives(self.coordinates.len(), self.faces.iter().copied());
        numbered(roots.len(), roots)
    }

    fn mesh(self, mesh: &Mesh) -> Mesh {
        let origin = |list: &[[f32; 3]]| self.origins.iter().map(|&vertex| list[vertex as usize]).collect();
        Mesh {
            vertices: origin(&mesh.vertices),
            normals: origin(&mesh.normals),
            faces: self.faces,
            paint: Paint::Texture { coordinates: self.coordinates, picture: RgbImage::new(1, 1) },
        }
    }
}

/// The pieces as their shapes fit into each other. `None`: there are more than `most`, or they do not fit.
fn fitted(mesh: &Mesh, size: u32, most: usize) -> Result<Option<Flat>> {
    let options = Options {
        density: Density::Auto { page_size: size },
        padding: PADDING,
        packing: Packing::Fast,
        max_chart_area: (area(mesh) * PIECE_FACES / mesh.faces.len() as f64).min(f32::MAX.into()) as f32,
        ..Options::default()
    };
    let pieces = AtomicUsize::new(0);
    // Each piece is reported once, when it lies flat.
    let go_on = |Progress { stage, .. }: Progress| {
        stage != Stage::Parameterizing || pieces.fetch_add(1, Ordering::Relaxed) < most
    };
    match uvunwrap::generate_with_progress(&[input(mesh)], &options, go_on) {
        // The page ends with its last piece, and is as wide as was asked.
        Ok(atlas) if atlas.page_count <= 1 => Flat::new(&atlas, 1.0 / f64::from(size)).map(Some),
        Ok(_) | Err(uvunwrap::Error::Cancelled) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The pieces on shelves.
fn shelved(mesh: &Mesh, size: u32) -> Result<Flat> {
    // Laid out anywhere, about a texel for each face.
    let faces = mesh.faces.len() as f64;
    let density = (faces / area(mesh)).sqrt().min(f32::MAX.into());
    let table = (TABLE * faces.sqrt()).ceil() as u32;
    let options = Options {
        density: Density::Fixed { texels_per_unit: density as f32, page_size: Some(table) },
        padding: 0,
        max_chart_size: table / 2,
        packing: Packing::Fast,
        ..Options::default()
    };
    let atlas = uvunwrap::generate(&[input(mesh)], &options).map_err(failed)?;
    let mut flat = Flat::new(&atlas, 1.0)?;
    let (pieces, count) = flat.pieces();
    let mut bounds = vec![[[f32::INFINITY; 2], [f32::NEG_INFINITY; 2]]; count];
    for (place, &piece) in flat.coordinates.iter().zip(&pieces) {
        let [low, high] = &mut bounds[piece as usize];
        for axis in 0..2 {
            (low[axis], high[axis]) = (low[axis].min(place[axis]), high[axis].max(place[axis]));
        }
    }
    let boxes: Vec<_> = bounds.iter().map(|[low, high]| [high[0] - low[0], high[1] - low[1]]).collect();
    let Shelves { scale, corners } =
        Shelves::new(&boxes, size).ok_or_else(|| failed("it has too many pieces"))?;
    for (place, &piece) in flat.coordinates.iter_mut().zip(&pieces) {
        let ([low, _], corner) = (bounds[piece as usize], corners[piece as usize]);
        *place = [0, 1].map(|axis| (corner[axis] + (place[axis] - low[axis]) * scale) / size as f32);
    }
    Ok(flat)
}

fn input(mesh: &Mesh) -> MeshInput<'_> {
    MeshInput::new(&mesh.vertices, mesh.faces.as_flattened())
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::Damaged(format!("it could not be unwrapped: {why}"))
}
