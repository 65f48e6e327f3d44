//! A PLY file to the mesh or the Gaussians in it.

use super::super::check::{self, read_mesh};
use super::super::{Asset, Format};
use super::gaussians::{are_gaussians, from_columns};
use super::header::{Element, broken, parse};
use super::rows::Rows;
use crate::{Mesh, Paint, Result};

/// What the file's vertices are tells which it is.
pub(in crate::formats) fn read(bytes: &[u8]) -> Result<Asset> {
    let (header, rest) = parse(bytes)?;
    let mut rows = Rows::new(header.encoding, rest);
    let (mut table, mut faces) = (None, vec![]);
    for element in &header.elements {
        match element.name.as_str() {
            "vertex" => table = Some(Table::read(element, &mut rows)?),
            "face" => faces = read_faces(element, &mut rows)?,
            _ => rows.element(element, |_, _| Ok(()))?,
        }
    }
    let table = table.ok_or_else(|| broken("it has no vertices"))?;
    let names: Vec<&str> = table.element.properties.iter().map(|property| property.name.as_str()).collect();
    if are_gaussians(&names) {
        return from_columns(|name| table.column(name)).map(Asset::Gaussians);
    }
    mesh(&table, faces).map(Asset::Mesh)
}

/// The vertices, by columns.
struct Table<'a> {
    element: &'a Element,
    columns: Vec<Vec<f32>>,
}

/// The columns that anything here is made of; others are skipped.
const WANTED: [&str; 23] = [
    "x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "r", "g", "b", "f_dc_0", "f_dc_1", "f_dc_2",
    "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
];

impl<'a> Table<'a> {
    fn read(element: &'a Element, rows: &mut Rows<'_>) -> Result<Self> {
        check::count(Format::Ply, "vertices", element.count)?;
        let wanted: Vec<bool> =
            element.properties.iter().map(|property| WANTED.contains(&property.name.as_str())).collect();
        let mut columns = vec![vec![]; element.properties.len()];
        rows.element(element, |place, values| {
            if wanted[place] {
                columns[place].push(values.first().copied().unwrap_or(f64::NAN) as f32);
            }
            Ok(())
        })?;
        Ok(Self { element, columns })
    }

    fn column(&self, name: &str) -> Result<&[f32]> {
        self.place(name)
            .map(|place| self.columns[place].as_slice())
            .ok_or_else(|| broken(&format!("its vertices have no {name}")))
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.element.properties.iter().position(|property| property.name == name)
    }

    /// Vectors of three columns, if they are there.
    fn vectors(&self, names: [&str; 3]) -> Option<Vec<[f32; 3]>> {
        let [x, y, z] = names.map(|name| self.place(name).map(|place| &self.columns[place]));
        let (x, y, z) = (x?, y?, z?);
        Some((0..x.len()).map(|row| [x[row], y[row], z[row]]).collect())
    }

    fn colors(&self) -> Option<Vec<[f32; 3]>> {
        let names = [["red", "green", "blue"], ["r", "g", "b"]];
        let (names, colors) = names.iter().find_map(|names| Some((names, self.vectors(*names)?)))?;
        let white = self.element.properties[self.place(names[0])?].number.white();
        Some(colors.into_iter().map(|color| color.map(|value| value / white)).collect())
    }
}

fn mesh(table: &Table<'_>, faces: Vec<[u32; 3]>) -> Result<Mesh> {
    for axis in ["x", "y", "z"] {
        table.column(axis)?;
    }
    let vertices = table.vectors(["x", "y", "z"]).unwrap_or_default();
    let normals = table.vectors(["nx", "ny", "nz"]).unwrap_or_default();
    let paint = table.colors().map_or(Paint::None, Paint::Vertices);
    read_mesh(Format::Ply, vertices, faces, normals, paint)
}

/// Triangles; polygons with more corners become fans.
fn read_faces(element: &Element, rows: &mut Rows<'_>) -> Result<Vec<[u32; 3]>> {
    let is_corners = |name: &str| name == "vertex_indices" || name == "vertex_index";
    let corners = element
        .properties
        .iter()
        .position(|property| property.length.is_some() && is_corners(&property.name));
    let corners = corners.ok_or_else(|| broken("its faces name no vertices"))?;
    let mut faces = vec![];
    rows.element(element, |place, values| {
        if place != corners || values.len() < 3 {
            return Ok(());
        }
        check::count(Format::Ply, "triangles", faces.len() + values.len() - 2)?;
        for pair in values[1..].windows(2) {
            faces.push([vertex(values[0])?, vertex(pair[0])?, vertex(pair[1])?]);
        }
        Ok(())
    })?;
    Ok(faces)
}

fn vertex(value: f64) -> Result<u32> {
    if !(0.0..f64::from(u32::MAX)).contains(&value) {
        return Err(broken("its faces name vertices that it lacks"));
    }
    Ok(value as u32)
}
