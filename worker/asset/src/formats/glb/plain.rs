//! A mesh with every number as it is.

use rayon::prelude::*;
use serde_json::{Value, json};

use super::buffer::{Buffer, Component, Layout, Target, bounds};
use crate::formats::y_up;
use crate::mesh::linear_from_srgb;
use crate::{Mesh, Paint};

/// Appends the mesh to the buffer and describes it.
pub(super) fn primitive(mesh: &Mesh, buffer: &mut Buffer) -> Value {
    let floats = |shape| Layout { shape, component: Component::F32, normalized: false };
    let positions: Vec<_> = mesh.vertices.iter().copied().map(y_up).collect();
    let normals: Vec<_> = mesh.normals.iter().copied().map(y_up).collect();
    let mut attributes = json!({
        "POSITION": buffer.values(&positions, floats("VEC3"), Target::Vertices, bounds(&positions)),
        "NORMAL": buffer.values(&normals, floats("VEC3"), Target::Vertices, None),
    });
    match &mesh.paint {
        // White is what a vertex without a colour has in glTF; the grey is the one that pictures show.
        Paint::None => {
            let colors = vec![[linear_from_srgb(0.5); 3]; mesh.vertices.len()];
            attributes["COLOR_0"] = json!(buffer.values(&colors, floats("VEC3"), Target::Vertices, None));
        }
        Paint::Vertices(colors) => {
            let linear: Vec<_> = colors.par_iter().map(|color| linear(*color)).collect();
            attributes["COLOR_0"] = json!(buffer.values(&linear, floats("VEC3"), Target::Vertices, None));
        }
        Paint::Texture { coordinates, .. } => {
            attributes["TEXCOORD_0"] =
                json!(buffer.values(coordinates, floats("VEC2"), Target::Vertices, None));
        }
    }
    let indices = indices(mesh.faces.as_flattened(), mesh.vertices.len(), buffer);
    json!({"attributes": attributes, "indices": indices, "material": 0})
}

/// The linear light of a colour, within the range that glTF allows.
pub(super) fn linear(color: [f32; 3]) -> [f32; 3] {
    color.map(|value| linear_from_srgb(value.clamp(0.0, 1.0)))
}

fn indices(indices: &[u32], vertices: usize, buffer: &mut Buffer) -> usize {
    let scalar = |component| Layout { shape: "SCALAR", component, normalized: false };
    if vertices <= usize::from(u16::MAX) {
        let short: Vec<u16> = indices.iter().map(|&index| index as u16).collect();
        return buffer.values(&short, scalar(Component::U16), Target::Indices, None);
    }
    buffer.values(indices, scalar(Component::U32), Target::Indices, None)
}
