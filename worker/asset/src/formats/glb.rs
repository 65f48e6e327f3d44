//! Binary glTF 2.0 (<https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html>): one mesh with vertex colours.

use rayon::prelude::*;
use serde_json::{Value, json};

use crate::mesh::{Mesh, Paint, linear_from_srgb};
use crate::{Error, Result};

const JSON_CHUNK: &[u8; 4] = b"JSON";
const BINARY_CHUNK: &[u8; 4] = b"BIN\0";
const FLOAT: u32 = 5126;
const UNSIGNED_INT: u32 = 5125;
const ARRAY_BUFFER: u32 = 34962;
const ELEMENT_ARRAY_BUFFER: u32 = 34963;

/// The file of a mesh: y up, facing +z, as glTF has it. Colours become linear, which glTF's `COLOR_0` is. The same
/// mesh gives the same bytes.
///
/// # Errors
/// When the mesh has no faces, holds numbers that are not finite, or is larger than the format's 4 GiB.
pub fn write(mesh: &Mesh) -> Result<Vec<u8>> {
    if mesh.is_empty() {
        return Err(Error::Empty("no surface"));
    }
    let positions: Vec<_> = mesh.vertices.iter().copied().map(y_up).collect();
    let normals: Vec<_> = mesh.normals.iter().copied().map(y_up).collect();
    let colors: Vec<[f32; 3]> = match &mesh.paint {
        Paint::Vertices(colors) => colors.par_iter().map(|color| color.map(linear_from_srgb)).collect(),
        _ => vec![linear_from_srgb(0.5); mesh.vertices.len()].into_iter().map(|grey| [grey; 3]).collect(),
    };
    if ![&positions, &normals, &colors]
        .iter()
        .all(|values| values.as_flattened().iter().all(|v| v.is_finite()))
    {
        return Err(Error::Damaged("it holds numbers that are not finite".to_owned()));
    }
    let mut buffer = Buffer::default();
    let attributes = json!({
        "POSITION": buffer.vectors(&positions),
        "NORMAL": buffer.vectors(&normals),
        "COLOR_0": buffer.vectors(&colors),
    });
    let indices = buffer.indices(mesh.faces.as_flattened());
    container(&buffer.document(attributes, indices), buffer.bytes)
}

/// From z up to y up (SPEC section 8).
fn y_up([x, y, z]: [f32; 3]) -> [f32; 3] {
    [x, z, -y]
}

/// The binary part of the file and what describes it.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
}

impl Buffer {
    /// Appends an attribute of the vertices; the result is its accessor's number.
    fn vectors(&mut self, vectors: &[[f32; 3]]) -> usize {
        self.view(bytemuck::cast_slice(vectors), ARRAY_BUFFER);
        let bound = |pick: fn(f32, f32) -> f32, start| {
            vectors
                .iter()
                .fold([start; 3], |bound, vector| std::array::from_fn(|axis| pick(bound[axis], vector[axis])))
        };
        let (min, max) = (bound(f32::min, f32::INFINITY), bound(f32::max, f32::NEG_INFINITY));
        self.accessor(FLOAT, vectors.len(), "VEC3", json!(min), json!(max))
    }

    /// Appends the vertices of the faces.
    fn indices(&mut self, indices: &[u32]) -> usize {
        self.view(bytemuck::cast_slice(indices), ELEMENT_ARRAY_BUFFER);
        let (min, max) = (indices.iter().min(), indices.iter().max());
        self.accessor(UNSIGNED_INT, indices.len(), "SCALAR", json!([min]), json!([max]))
    }

    fn view(&mut self, bytes: &[u8], target: u32) {
        let offset = self.bytes.len();
        self.views
            .push(json!({"buffer": 0, "byteOffset": offset, "byteLength": bytes.len(), "target": target}));
        self.bytes.extend_from_slice(bytes);
    }

    fn accessor(&mut self, component: u32, count: usize, shape: &str, min: Value, max: Value) -> usize {
        self.accessors.push(json!({
            "bufferView": self.views.len() - 1, "componentType": component, "count": count, "type": shape,
            "min": min, "max": max,
        }));
        self.accessors.len() - 1
    }

    fn document(&self, attributes: Value, indices: usize) -> Value {
        json!({
            "asset": {"version": "2.0", "generator": "trellis3d"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
            "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}],
            "buffers": [{"byteLength": self.bytes.len()}],
            "bufferViews": self.views,
            "accessors": self.accessors,
        })
    }
}

/// Header and chunks, each padded to four bytes.
fn container(document: &Value, mut binary: Vec<u8>) -> Result<Vec<u8>> {
    let mut text = document.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(4), b' ');
    binary.resize(binary.len().next_multiple_of(4), 0);
    let length = |bytes: usize| {
        let too_large =
            |_| Error::InvalidInput("the mesh is larger than a GLB file can be (4 GiB)".to_owned());
        u32::try_from(bytes).map(u32::to_le_bytes).map_err(too_large)
    };
    let total = 12 + 8 + text.len() + 8 + binary.len();
    let mut file = Vec::with_capacity(total);
    file.extend_from_slice(b"glTF");
    file.extend_from_slice(&2u32.to_le_bytes());
    file.extend_from_slice(&length(total)?);
    for (kind, chunk) in [(JSON_CHUNK, text), (BINARY_CHUNK, binary)] {
        file.extend_from_slice(&length(chunk.len())?);
        file.extend_from_slice(kind);
        file.extend_from_slice(&chunk);
    }
    Ok(file)
}
