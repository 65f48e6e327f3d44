//! OBJ text, or an archive with it, to a mesh.

use std::cell::RefCell;
use std::path::Path;

use image::RgbImage;
use tobj::{LoadError, LoadOptions, MTLLoadResult, Material};

use crate::formats::archive::Files;
use crate::formats::check::{self, damaged, read_mesh};
use crate::formats::{Format, texture, z_up};
use crate::mesh::srgb_from_linear;
use crate::render::Texture;
use crate::{Mesh, Paint, Result};

/// What files beside an OBJ hold, by the names that it gives them.
pub type Beside<'a> = &'a mut dyn FnMut(&str) -> Option<Vec<u8>>;

/// The mesh in OBJ text, or in a ZIP archive with it. `beside` gives the files that bare text names (material, texture); without them the mesh is
/// grey. Where several materials meet, vertices get the colours that their textures have there.
///
/// # Errors
/// When it cannot be read or holds no triangles.
pub fn read(bytes: &[u8], beside: Beside<'_>) -> Result<Mesh> {
    if !bytes.starts_with(b"PK") {
        return text(bytes, beside);
    }
    let mut files = Files::open(bytes, Format::Obj)?;
    let name =
        files.with_extension("obj").ok_or_else(|| damaged(Format::Obj, "the archive holds no .obj file"))?;
    let folder = name.rsplit_once('/').map_or_else(String::new, |(folder, _)| format!("{folder}/"));
    let bytes = files.read(&name)?;
    text(&bytes, &mut |name| files.read(&format!("{folder}{name}")).ok())
}

fn text(bytes: &[u8], beside: Beside<'_>) -> Result<Mesh> {
    let options =
        LoadOptions { single_index: true, triangulate: true, ignore_points: true, ignore_lines: true };
    let beside = RefCell::new(beside);
    let materials = |path: &Path| materials(path, &beside);
    let (models, materials) =
        tobj::load_obj_buf(&mut &*bytes, &options, materials).map_err(|error| damaged(Format::Obj, error))?;
    // A material that cannot be read costs its colours, not the shape.
    let materials = materials.unwrap_or_default();
    let mut parts = Parts::default();
    for model in &models {
        parts.add(&model.mesh)?;
    }
    let textures = textures(&materials, &parts.used, &beside)?;
    let paint = parts.paint(&materials, textures);
    read_mesh(Format::Obj, parts.vertices, parts.faces, parts.normals, paint)
}

fn materials(path: &Path, beside: &RefCell<Beside<'_>>) -> MTLLoadResult {
    let bytes =
        path.to_str().and_then(|name| (beside.borrow_mut())(name)).ok_or(LoadError::OpenFileFailed)?;
    tobj::load_mtl_buf(&mut bytes.as_slice())
}

/// The meshes of a file, one after the other.
#[derive(Default)]
struct Parts {
    vertices: Vec<[f32; 3]>,
    normals: Vec<[f32; 3]>,
    coordinates: Vec<[f32; 2]>,
    colors: Vec<[f32; 3]>,
    faces: Vec<[u32; 3]>,
    /// Of each vertex its material.
    material: Vec<Option<usize>>,
    used: Vec<Option<usize>>,
}

impl Parts {
    fn add(&mut self, mesh: &tobj::Mesh) -> Result<()> {
        let (positions, _) = mesh.positions.as_chunks::<3>();
        check::count(Format::Obj, "vertices", self.vertices.len() + positions.len())?;
        check::count(Format::Obj, "triangles", self.faces.len() + mesh.indices.len() / 3)?;
        let first = self.vertices.len() as u32;
        self.vertices.extend(positions.iter().copied().map(z_up));
        let count = self.vertices.len();
        // A part without something leaves the places empty, so that the lists stay as long.
        self.normals.extend(mesh.normals.as_chunks::<3>().0.iter().copied().map(z_up));
        self.normals.resize(count, [f32::NAN; 3]);
        self.coordinates.extend_from_slice(mesh.texcoords.as_chunks::<2>().0);
        self.coordinates.resize(count, [f32::NAN; 2]);
        self.colors.extend_from_slice(mesh.vertex_color.as_chunks::<3>().0);
        self.colors.resize(count, [f32::NAN; 3]);
        self.material.resize(count, mesh.material_id);
        if !self.used.contains(&mesh.material_id) {
            self.used.push(mesh.material_id);
        }
        self.faces.extend(
            mesh.indices
                .as_chunks::<3>()
                .0
                .iter()
                .map(|face| face.map(|vertex| vertex.saturating_add(first))),
        );
        Ok(())
    }

    fn paint(&mut self, materials: &[Material], mut textures: Vec<Option<RgbImage>>) -> Paint {
        if let [Some(material)] = self.used[..]
            && self.coordinates.iter().all(|place| place[0].is_finite())
            && let Some(picture) = textures.get_mut(material).and_then(Option::take)
        {
            // OBJ counts rows from below.
            let coordinates = self.coordinates.iter().map(|[u, v]| [*u, 1.0 - v]).collect();
            return Paint::Texture { coordinates, picture };
        }
        let diffuse =
            |vertex: usize| self.material[vertex].and_then(|material| materials.get(material)?.diffuse);
        let plain = (0..self.vertices.len())
            .all(|vertex| self.colors[vertex][0].is_nan() && diffuse(vertex).is_none());
        if plain {
            return Paint::None;
        }
        let textures: Vec<Option<Texture>> =
            textures.iter().map(|picture| Some(Texture::new(picture.as_ref()?))).collect();
        let color = |vertex: usize| {
            if !self.colors[vertex][0].is_nan() {
                return self.colors[vertex];
            }
            let [u, v] = self.coordinates[vertex];
            let texture = self.material[vertex].and_then(|material| textures.get(material)?.as_ref());
            match texture {
                Some(texture) if u.is_finite() => texture.sample([u, 1.0 - v], 0.0).map(srgb_from_linear),
                _ => diffuse(vertex).unwrap_or([0.5; 3]).map(|value| value.clamp(0.0, 1.0)),
            }
        };
        Paint::Vertices((0..self.vertices.len()).map(color).collect())
    }
}

/// Of each material that is used its texture, if it has one that is there.
fn textures(
    materials: &[Material],
    used: &[Option<usize>],
    beside: &RefCell<Beside<'_>>,
) -> Result<Vec<Option<RgbImage>>> {
    let texture = |(index, material): (usize, &Material)| {
        let name = material.diffuse_texture.as_deref().filter(|_| used.contains(&Some(index)))?;
        let bytes = (beside.borrow_mut())(name)?;
        Some(texture::decode(Format::Obj, &bytes))
    };
    materials.iter().enumerate().map(|material| texture(material).transpose()).collect()
}
