//! A mesh as OBJ text and the files beside it.

use std::fmt::Write;

use rayon::prelude::*;

use crate::formats::archive::{self, Storage};
use crate::formats::{Format, Options, check, texture, y_up};
use crate::{Mesh, Paint, Result};

/// Vertices or faces that one thread writes as text at once.
const CHUNK: usize = 1 << 13;

/// The files of a mesh by their names: `<stem>.obj`, and where it has a texture `<stem>.mtl` and `<stem>.png` or `.jpg`. Colours of vertices follow
/// their positions, as MeshLab, Blender and most others read them.
///
/// # Errors
/// When the mesh is empty or holds numbers that are not finite, and for WebP textures.
pub fn files(mesh: &Mesh, stem: &str, options: &Options) -> Result<Vec<(String, Vec<u8>)>> {
    check::asset(mesh.into())?;
    let mut head = "# made by trellis3d\n".to_owned();
    let mut beside = vec![];
    if let Paint::Texture { picture, .. } = &mesh.paint {
        let format = options.texture.without_webp(Format::Obj)?;
        let name = format!("{stem}.{}", format.extension());
        head.extend(["mtllib ", stem, ".mtl\nusemtl material\n"]);
        let material = format!("newmtl material\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {name}\n");
        beside.push((format!("{stem}.mtl"), material.into_bytes()));
        beside.push((name, texture::encode(picture, format)?));
    }
    let text = [head, vertices(mesh), normals(mesh), coordinates(mesh), faces(mesh)].concat();
    let mut files = vec![(format!("{stem}.obj"), text.into_bytes())];
    files.append(&mut beside);
    Ok(files)
}

/// The files in one archive.
pub(in crate::formats) fn archive(mesh: &Mesh, options: &Options) -> Result<Vec<u8>> {
    archive::write(&files(mesh, "model", options)?, Storage::Compressed)
}

fn vertices(mesh: &Mesh) -> String {
    lines(&mesh.vertices, |text, index, position| {
        let [x, y, z] = y_up(*position);
        match &mesh.paint {
            Paint::Vertices(colors) => {
                let [r, g, b] = colors[index];
                write!(text, "v {x} {y} {z} {r} {g} {b}")
            }
            _ => write!(text, "v {x} {y} {z}"),
        }
    })
}

fn normals(mesh: &Mesh) -> String {
    lines(&mesh.normals, |text, _, normal| {
        let [x, y, z] = y_up(*normal);
        write!(text, "vn {x} {y} {z}")
    })
}

fn coordinates(mesh: &Mesh) -> String {
    match &mesh.paint {
        // The first row of the picture is at the top: OBJ counts from below.
        Paint::Texture { coordinates, .. } => {
            lines(coordinates, |text, _, [u, v]| write!(text, "vt {u} {}", 1.0 - v))
        }
        _ => String::new(),
    }
}

fn faces(mesh: &Mesh) -> String {
    let textured = matches!(mesh.paint, Paint::Texture { .. });
    lines(&mesh.faces, |text, _, face| {
        let [a, b, c] = face.map(|vertex| u64::from(vertex) + 1);
        if textured {
            write!(text, "f {a}/{a}/{a} {b}/{b}/{b} {c}/{c}/{c}")
        } else {
            write!(text, "f {a}//{a} {b}//{b} {c}//{c}")
        }
    })
}

fn lines<T: Sync>(values: &[T], line: impl Fn(&mut String, usize, &T) -> std::fmt::Result + Sync) -> String {
    let chunk = |(first, values): (usize, &[T])| {
        let mut text = String::with_capacity(values.len() * 32);
        for (index, value) in values.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = line(&mut text, first * CHUNK + index, value);
            text.push('\n');
        }
        text
    };
    values.par_chunks(CHUNK).enumerate().map(chunk).collect::<Vec<_>>().concat()
}
