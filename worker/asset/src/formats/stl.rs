//! Binary STL: a list of triangles, z up, without colours. Text STL is read too.

use super::Format;
use super::check::{self, damaged, read_mesh};
use super::merge::Merge;
use crate::mesh::{cross, minus, normalised};
use crate::{Error, Mesh, Paint, Result};

const HEADER: usize = 80;
const TRIANGLE: usize = 50;

pub(super) fn write(mesh: &Mesh) -> Result<Vec<u8>> {
    let count = u32::try_from(mesh.faces.len())
        .map_err(|_| Error::InvalidInput("the mesh has more faces than an stl file can hold".to_owned()))?;
    let mut file = Vec::with_capacity(HEADER + 4 + mesh.faces.len() * TRIANGLE);
    // It must not begin with `solid`: that is how text begins.
    file.extend_from_slice(b"binary stl made by trellis3d");
    file.resize(HEADER, 0);
    file.extend_from_slice(&count.to_le_bytes());
    for face in &mesh.faces {
        let corners = face.map(|vertex| mesh.vertices[vertex as usize]);
        let [a, b, c] = corners;
        let normal = normalised(cross(minus(b, a), minus(c, a))).unwrap_or_default();
        file.extend_from_slice(bytemuck::bytes_of(&normal));
        file.extend_from_slice(bytemuck::bytes_of(&corners));
        file.extend_from_slice(&[0, 0]);
    }
    Ok(file)
}

pub(super) fn read(bytes: &[u8]) -> Result<Mesh> {
    let count = bytes
        .get(HEADER..HEADER + 4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]) as usize);
    // Some programs begin binary files with `solid` too: the length tells them apart.
    let whole = count.is_some_and(|count| count.checked_mul(TRIANGLE) == Some(bytes.len() - HEADER - 4));
    let mut merge = Merge::default();
    let faces = match count {
        _ if !whole && bytes.trim_ascii_start().starts_with(b"solid") => text(bytes, &mut merge)?,
        Some(count)
            if bytes.len() - HEADER - 4 >= check::count(Format::Stl, "triangles", count)? * TRIANGLE =>
        {
            binary(&bytes[HEADER + 4..][..count * TRIANGLE], &mut merge)
        }
        _ => return Err(damaged(Format::Stl, "it ends before its last triangle")),
    };
    read_mesh(Format::Stl, merge.vertices, faces, vec![], Paint::None)
}

fn binary(bytes: &[u8], merge: &mut Merge) -> Vec<[u32; 3]> {
    let (triangles, _) = bytes.as_chunks::<TRIANGLE>();
    let corner = |triangle: &[u8; TRIANGLE], corner: usize| {
        let at = |axis: usize| 12 + corner * 12 + axis * 4;
        [0, 1, 2].map(|axis| {
            let at = at(axis);
            f32::from_le_bytes([triangle[at], triangle[at + 1], triangle[at + 2], triangle[at + 3]])
        })
    };
    triangles.iter().map(|triangle| [0, 1, 2].map(|index| merge.place(corner(triangle, index)))).collect()
}

fn text(bytes: &[u8], merge: &mut Merge) -> Result<Vec<[u32; 3]>> {
    let broken = || damaged(Format::Stl, "a vertex lacks one of its three numbers");
    let mut corners = vec![];
    for line in String::from_utf8_lossy(bytes).lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("vertex") {
            let mut number = || words.next().and_then(|word| word.parse::<f32>().ok()).ok_or_else(broken);
            corners.push(merge.place([number()?, number()?, number()?]));
        }
    }
    check::count(Format::Stl, "triangles", corners.len() / 3)?;
    Ok(corners.as_chunks::<3>().0.to_vec())
}
