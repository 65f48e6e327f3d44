//! A mesh in a fraction of its bytes: numbers are rounded (`KHR_mesh_quantization`), vertices put in the order in which faces use
//! them, and the result encoded (`EXT_meshopt_compression`, in the version of its bit stream that every decoder knows).

use serde_json::{Value, json};

use super::buffer::{Buffer, Coding, Component, Layout, Target, bounds};
use super::plain::linear;
use crate::formats::y_up;
use crate::{Error, Mesh, Paint, Result};

/// The version of `EXT_meshopt_compression`; a later one is of an extension of its own.
const VERTEX_VERSION: i32 = 0;
const LEVEL: i32 = 2;
const NORMAL_BITS: i32 = 8;

/// Appends the mesh to the buffer and describes it; the second value is the node that undoes the rounding's scale.
pub(super) fn primitive(mesh: &Mesh, buffer: &mut Buffer) -> Result<(Value, Value)> {
    let cached = meshopt::optimize_vertex_cache(mesh.faces.as_flattened(), mesh.vertices.len());
    let (order, indices) = by_first_use(&cached, mesh.vertices.len());
    let cube = Bounds::of(order.iter().map(|&vertex| y_up(mesh.vertices[vertex as usize])));

    let positions: Vec<[u16; 4]> =
        gather(&order, |vertex| padded(cube.inside(y_up(mesh.vertices[vertex])).map(unorm16), 0));
    let [x, y, z, _] = [0, 1, 2, 3];
    let three: Vec<[u16; 3]> =
        positions.iter().map(|position| [position[x], position[y], position[z]]).collect();
    let mut attributes = json!({
        "POSITION": vertices(buffer, &positions, ("VEC3", Component::U16), None, bounds(&three))?,
    });
    let normals: Vec<[f32; 4]> = gather(&order, |vertex| padded(y_up(mesh.normals[vertex]), 0.0));
    let normals: Vec<[i8; 4]> = meshopt::encoding::encode_filter_oct(&normals, NORMAL_BITS);
    attributes["NORMAL"] =
        json!(vertices(buffer, &normals, ("VEC3", Component::I8), Some("OCTAHEDRAL"), None)?);
    match &mesh.paint {
        Paint::Texture { coordinates, .. } => {
            attributes["TEXCOORD_0"] = json!(texture_coordinates(buffer, &order, coordinates)?);
        }
        paint => {
            // Sixteen bits: eight of linear light would show as steps in the shadows.
            let colors: Vec<[u16; 4]> = gather(&order, |vertex| {
                let color = if let Paint::Vertices(colors) = paint { colors[vertex] } else { [0.5; 3] };
                padded(linear(color).map(unorm16), u16::MAX)
            });
            attributes["COLOR_0"] = json!(vertices(buffer, &colors, ("VEC4", Component::U16), None, None)?);
        }
    }
    let indices = faces(buffer, &indices, order.len())?;
    let primitive = json!({"attributes": attributes, "indices": indices, "material": 0});
    Ok((primitive, json!({"mesh": 0, "translation": cube.low, "scale": [cube.side, cube.side, cube.side]})))
}

/// The vertices in the order in which the faces name them first, and the faces that name them by their new places.
fn by_first_use(faces: &[u32], vertices: usize) -> (Vec<u32>, Vec<u32>) {
    const UNUSED: u32 = u32::MAX;
    let mut places = vec![UNUSED; vertices];
    let mut order = Vec::with_capacity(vertices);
    let place = |&vertex: &u32| {
        let place = &mut places[vertex as usize];
        if *place == UNUSED {
            *place = order.len() as u32;
            order.push(vertex);
        }
        *place
    };
    let indices = faces.iter().map(place).collect();
    (order, indices)
}

/// The cube that positions are fractions of.
struct Bounds {
    low: [f32; 3],
    side: f32,
}

impl Bounds {
    fn of(positions: impl Iterator<Item = [f32; 3]>) -> Self {
        let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
        for position in positions {
            low = std::array::from_fn(|axis| low[axis].min(position[axis]));
            high = std::array::from_fn(|axis| high[axis].max(position[axis]));
        }
        let side = (0..3).map(|axis| high[axis] - low[axis]).fold(f32::MIN_POSITIVE, f32::max);
        Self { low, side }
    }

    fn inside(&self, position: [f32; 3]) -> [f32; 3] {
        std::array::from_fn(|axis| (position[axis] - self.low[axis]) / self.side)
    }
}

fn gather<T>(order: &[u32], value: impl Fn(usize) -> T) -> Vec<T> {
    order.iter().map(|&vertex| value(vertex as usize)).collect()
}

fn padded<T: Copy>([x, y, z]: [T; 3], w: T) -> [T; 4] {
    [x, y, z, w]
}

fn unorm16(value: f32) -> u16 {
    (value.clamp(0.0, 1.0) * f32::from(u16::MAX)).round() as u16
}

fn texture_coordinates(buffer: &mut Buffer, order: &[u32], coordinates: &[[f32; 2]]) -> Result<usize> {
    let ordered: Vec<[f32; 2]> = gather(order, |vertex| coordinates[vertex]);
    if ordered.as_flattened().iter().all(|value| (0.0..=1.0).contains(value)) {
        let short: Vec<[u16; 2]> = ordered.iter().map(|place| place.map(unorm16)).collect();
        return vertices(buffer, &short, ("VEC2", Component::U16), None, None);
    }
    // Beyond the picture, where it repeats.
    vertices(buffer, &ordered, ("VEC2", Component::F32), None, None)
}

fn vertices<T: bytemuck::Pod>(
    buffer: &mut Buffer,
    values: &[T],
    (shape, component): (&'static str, Component),
    filter: Option<&'static str>,
    bounds: Option<[Value; 2]>,
) -> Result<usize> {
    let encoded = meshopt::encoding::encode_vertex_buffer_level(values, LEVEL, Some(VERTEX_VERSION));
    let encoded = encoded.map_err(failed)?;
    let coding = Coding { mode: "ATTRIBUTES", filter, stride: size_of::<T>() };
    let layout = Layout { shape, component, normalized: !matches!(component, Component::F32) };
    Ok(buffer.encoded((&encoded, values.len()), coding, (layout, Target::Vertices), bounds))
}

fn faces(buffer: &mut Buffer, indices: &[u32], vertices: usize) -> Result<usize> {
    let encoded = meshopt::encoding::encode_index_buffer(indices, vertices).map_err(failed)?;
    let (component, stride) =
        if vertices <= usize::from(u16::MAX) { (Component::U16, 2) } else { (Component::U32, 4) };
    let coding = Coding { mode: "TRIANGLES", filter: None, stride };
    let layout = Layout { shape: "SCALAR", component, normalized: false };
    Ok(buffer.encoded((&encoded, indices.len()), coding, (layout, Target::Indices), None))
}

fn failed(error: meshopt::Error) -> Error {
    Error::Damaged(format!("it cannot be compressed: {error}"))
}
