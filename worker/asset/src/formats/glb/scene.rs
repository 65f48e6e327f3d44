//! A GLB file to one mesh: all meshes of its scene, each where its node puts it.

use super::accessor::{File, broken, data_uri, missing};
use super::document::{Node, Primitive};
use super::paint::{Material, combine};
use super::{MESHOPT, QUANTIZATION, WEBP};
use crate::formats::check::{self, damaged, read_mesh};
use crate::formats::{Format, texture, z_up};
use crate::{Mesh, Result};

const TRIANGLES: u32 = 4;
const TRIANGLE_STRIP: u32 = 5;
const TRIANGLE_FAN: u32 = 6;

/// A part of the mesh that has one material.
#[derive(Default)]
pub(super) struct Part {
    pub(super) vertices: Vec<[f32; 3]>,
    pub(super) normals: Vec<[f32; 3]>,
    pub(super) faces: Vec<[u32; 3]>,
    /// Places in the picture; empty: none.
    pub(super) coordinates: Vec<[f32; 2]>,
    /// Linear; empty: none.
    pub(super) colors: Vec<[f32; 3]>,
    pub(super) material: Material,
}

/// The mesh in a file. Colours come from textures, vertices and factors; where several textures meet, vertices get the colours that theirs have there.
pub(in crate::formats) fn read(bytes: &[u8]) -> Result<Mesh> {
    let file = File::open(bytes)?;
    let supported = [MESHOPT, QUANTIZATION, WEBP, "KHR_materials_unlit"];
    if let Some(other) =
        file.document.extensions_required.iter().find(|name| !supported.contains(&name.as_str()))
    {
        return Err(damaged(
            Format::Glb,
            format_args!("it needs {other}, which is not supported; export it without"),
        ));
    }
    let mut parts = vec![];
    let (mut vertices, mut faces) = (0, 0);
    for (mesh, matrix) in placed_meshes(&file)? {
        let mesh = file.document.meshes.get(mesh).ok_or_else(|| missing("mesh", mesh))?;
        for primitive in &mesh.primitives {
            let Some(mut part) = read_part(&file, primitive)? else { continue };
            vertices = check::count(Format::Glb, "vertices", vertices + part.vertices.len())?;
            faces = check::count(Format::Glb, "triangles", faces + part.faces.len())?;
            place(&mut part, &matrix);
            parts.push(part);
        }
    }
    let mut pictures = |image| picture(&file, image);
    let paint = combine(&parts, &mut pictures)?;
    join(parts, paint)
}

fn join(parts: Vec<Part>, paint: crate::Paint) -> Result<Mesh> {
    let (mut vertices, mut normals, mut faces) = (vec![], vec![], vec![]);
    for part in parts {
        let first = vertices.len() as u32;
        faces.extend(part.faces.iter().map(|face| face.map(|vertex| vertex + first)));
        vertices.extend(part.vertices.into_iter().map(z_up));
        normals.extend(part.normals.into_iter().map(z_up));
        // Where a part has none, all are computed anew.
        normals.resize(vertices.len(), [f32::NAN; 3]);
    }
    read_mesh(Format::Glb, vertices, faces, normals, paint)
}

/// Columns of a matrix, the last the translation.
type Matrix = [[f64; 3]; 4];
const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0; 3]];

/// The meshes of the scene with their places.
fn placed_meshes(file: &File<'_>) -> Result<Vec<(usize, Matrix)>> {
    let document = &file.document;
    let scene = document.scenes.get(document.scene.unwrap_or(0));
    // A file without scenes still has its meshes.
    let Some(scene) = scene else {
        return Ok((0..document.meshes.len()).map(|mesh| (mesh, IDENTITY)).collect());
    };
    let mut meshes = vec![];
    let mut seen = vec![false; document.nodes.len()];
    let mut open: Vec<(usize, Matrix)> = scene.nodes.iter().rev().map(|&node| (node, IDENTITY)).collect();
    while let Some((index, parent)) = open.pop() {
        let node = document.nodes.get(index).ok_or_else(|| missing("node", index))?;
        if std::mem::replace(&mut seen[index], true) {
            return Err(broken("its nodes are no tree"));
        }
        let matrix = product(&parent, &local(node));
        meshes.extend(node.mesh.map(|mesh| (mesh, matrix)));
        open.extend(node.children.iter().rev().map(|&child| (child, matrix)));
    }
    Ok(meshes)
}

fn local(node: &Node) -> Matrix {
    if let Some(m) = node.matrix {
        return [0, 4, 8, 12].map(|column| [m[column], m[column + 1], m[column + 2]]);
    }
    let [x, y, z, w] = node.rotation.unwrap_or([0.0, 0.0, 0.0, 1.0]);
    let [a, b, c] = node.scale.unwrap_or([1.0; 3]);
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)].map(|value| value * a),
        [2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)].map(|value| value * b),
        [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)].map(|value| value * c),
        node.translation.unwrap_or([0.0; 3]),
    ]
}

fn product(outer: &Matrix, inner: &Matrix) -> Matrix {
    let turned = |vector: [f64; 3]| {
        std::array::from_fn(|row| (0..3).map(|column| outer[column][row] * vector[column]).sum::<f64>())
    };
    let mut matrix = inner.map(turned);
    matrix[3] = std::array::from_fn(|row| matrix[3][row] + outer[3][row]);
    matrix
}

/// Moves a part to where its node puts it.
fn place(part: &mut Part, matrix: &Matrix) {
    if *matrix == IDENTITY {
        return;
    }
    let [a, b, c, translation] = *matrix;
    // Normals turn with the cofactors, which are the inverse transposed up to a factor.
    let cross = |u: [f64; 3], v: [f64; 3]| {
        [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
    };
    let cofactors = [cross(b, c), cross(c, a), cross(a, b)];
    let mirrored = (0..3).map(|axis| a[axis] * cofactors[0][axis]).sum::<f64>() < 0.0;
    let sign = if mirrored { -1.0 } else { 1.0 };
    let combine = |columns: &[[f64; 3]; 3], vector: [f32; 3]| -> [f64; 3] {
        std::array::from_fn(|row| (0..3).map(|column| columns[column][row] * f64::from(vector[column])).sum())
    };
    for vertex in &mut part.vertices {
        let moved = combine(&[a, b, c], *vertex);
        *vertex = std::array::from_fn(|axis| (moved[axis] + translation[axis]) as f32);
    }
    for normal in &mut part.normals {
        let turned = combine(&cofactors, *normal).map(|value| value * sign);
        let length = turned.iter().map(|value| value * value).sum::<f64>().sqrt();
        *normal = turned.map(|value| (value / length) as f32);
    }
    if mirrored {
        part.faces.iter_mut().for_each(|face| face.swap(1, 2));
    }
}

/// `None`: points or lines.
fn read_part(file: &File<'_>, primitive: &Primitive) -> Result<Option<Part>> {
    let mode = primitive.mode.unwrap_or(TRIANGLES);
    if !(TRIANGLES..=TRIANGLE_FAN).contains(&mode) {
        return Ok(None);
    }
    let attribute = |name: &str| primitive.attributes.get(name).copied();
    let positions = attribute("POSITION").ok_or_else(|| broken("a mesh has no positions"))?;
    let vertices = file.vectors::<3>(positions)?;
    let count = vertices.len();
    let indices = match primitive.indices {
        Some(indices) => file.indices(indices)?,
        None => (0..count as u32).collect(),
    };
    if indices.iter().any(|&index| index as usize >= count) {
        return Err(broken("its faces name vertices that it lacks"));
    }
    let material = Material::of(file, primitive)?;
    let texture_coordinates = format!("TEXCOORD_{}", material.coordinates);
    let optional = |name: &str| attribute(name).filter(|_| count > 0);
    let part = Part {
        normals: optional("NORMAL").map_or(Ok(vec![]), |normals| file.vectors(normals))?,
        coordinates: optional(&texture_coordinates).map_or(Ok(vec![]), |places| file.vectors(places))?,
        colors: optional("COLOR_0").map_or(Ok(vec![]), |colors| file.vectors(colors))?,
        faces: triangles(&indices, mode),
        vertices,
        material,
    };
    if [part.coordinates.len(), part.colors.len()].iter().any(|&length| length != 0 && length != count) {
        return Err(broken("a mesh has fewer colours than vertices, or more"));
    }
    Ok(Some(Part { normals: if part.normals.len() == count { part.normals } else { vec![] }, ..part }))
}

fn triangles(indices: &[u32], mode: u32) -> Vec<[u32; 3]> {
    match mode {
        TRIANGLE_STRIP => {
            let turned = |(index, corners): (usize, &[u32])| match index % 2 {
                0 => [corners[0], corners[1], corners[2]],
                _ => [corners[1], corners[0], corners[2]],
            };
            indices.windows(3).enumerate().map(turned).collect()
        }
        TRIANGLE_FAN => {
            let rest = indices.get(1..).unwrap_or_default();
            rest.windows(2).map(|pair| [indices[0], pair[0], pair[1]]).collect()
        }
        _ => indices.as_chunks::<3>().0.to_vec(),
    }
}

fn picture(file: &File<'_>, index: usize) -> Result<image::RgbImage> {
    let image = file.document.images.get(index).ok_or_else(|| missing("image", index))?;
    match (image.buffer_view, image.uri.as_deref()) {
        (Some(view), _) => texture::decode(Format::Glb, &file.view(view)?.0),
        (None, Some(uri)) => texture::decode(Format::Glb, &data_uri(uri)?),
        (None, None) => Err(missing("the bytes of image", index)),
    }
}
