//! The binary part of a GLB file that is written, and what describes it.

use serde_json::{Value, json};

use super::MESHOPT;

const ARRAY_BUFFER: u32 = 34962;
const ELEMENT_ARRAY_BUFFER: u32 = 34963;

/// What the values of an accessor are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// `SCALAR`, `VEC2`, `VEC3` or `VEC4`.
    pub(super) shape: &'static str,
    /// The type of one component.
    pub(super) component: Component,
    /// Whether integers mean fractions.
    pub(super) normalized: bool,
}

/// Types of components, by their numbers in OpenGL.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum Component {
    I8 = 5120,
    U16 = 5123,
    U32 = 5125,
    F32 = 5126,
}

/// What a view holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Vertices,
    Indices,
}

/// How a compressed view is decoded (`EXT_meshopt_compression`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Coding {
    pub(super) mode: &'static str,
    pub(super) filter: Option<&'static str>,
    /// Decoded bytes of one value.
    pub(super) stride: usize,
}

#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Bytes of the views once they are decoded: the length of the second buffer, which no file holds.
    decoded: usize,
    views: Vec<Value>,
    accessors: Vec<Value>,
}

impl Buffer {
    /// Appends values as they are; the result is their accessor's number.
    pub(super) fn values<T: bytemuck::Pod>(
        &mut self,
        values: &[T],
        layout: Layout,
        target: Target,
        bounds: Option<[Value; 2]>,
    ) -> usize {
        let bytes = bytemuck::cast_slice(values);
        let offset = self.append(bytes);
        let mut view = json!({
            "buffer": 0, "byteOffset": offset, "byteLength": bytes.len(), "target": target.number(),
        });
        // Values that are padded to four bytes.
        if matches!(target, Target::Vertices) && !matches!(layout.component, Component::F32) {
            view["byteStride"] = json!(size_of::<T>());
        }
        self.views.push(view);
        self.accessor(values.len(), layout, bounds)
    }

    /// Appends encoded values; the result is their accessor's number.
    pub(super) fn encoded(
        &mut self,
        (encoded, count): (&[u8], usize),
        coding: Coding,
        (layout, target): (Layout, Target),
        bounds: Option<[Value; 2]>,
    ) -> usize {
        let offset = self.append(encoded);
        let length = coding.stride * count;
        let mut extension = json!({
            "buffer": 0, "byteOffset": offset, "byteLength": encoded.len(), "byteStride": coding.stride,
            "mode": coding.mode, "count": count,
        });
        if let Some(filter) = coding.filter {
            extension["filter"] = json!(filter);
        }
        let mut view = json!({
            "buffer": 1, "byteOffset": self.decoded, "byteLength": length, "target": target.number(),
            "extensions": {MESHOPT: extension},
        });
        if matches!(target, Target::Vertices) {
            view["byteStride"] = json!(coding.stride);
        }
        self.decoded += length.next_multiple_of(4);
        self.views.push(view);
        self.accessor(count, layout, bounds)
    }

    /// Appends bytes of a kind that glTF does not look into; the result is their view's number.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> usize {
        let offset = self.append(bytes);
        self.views.push(json!({"buffer": 0, "byteOffset": offset, "byteLength": bytes.len()}));
        self.views.len() - 1
    }

    fn append(&mut self, bytes: &[u8]) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        offset
    }

    fn accessor(&mut self, count: usize, layout: Layout, bounds: Option<[Value; 2]>) -> usize {
        let mut accessor = json!({
            "bufferView": self.views.len() - 1, "componentType": layout.component as u32, "count": count,
            "type": layout.shape,
        });
        if layout.normalized {
            accessor["normalized"] = json!(true);
        }
        if let Some([min, max]) = bounds {
            accessor["min"] = min;
            accessor["max"] = max;
        }
        self.accessors.push(accessor);
        self.accessors.len() - 1
    }

    /// Adds what the buffer holds to a document.
    pub(super) fn describe(&mut self, document: &mut Value) {
        let mut buffers = vec![json!({"byteLength": self.bytes.len()})];
        if self.decoded > 0 {
            buffers.push(json!({"byteLength": self.decoded, "extensions": {MESHOPT: {"fallback": true}}}));
        }
        document["buffers"] = json!(buffers);
        document["bufferViews"] = json!(std::mem::take(&mut self.views));
        document["accessors"] = json!(std::mem::take(&mut self.accessors));
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Target {
    const fn number(self) -> u32 {
        match self {
            Self::Vertices => ARRAY_BUFFER,
            Self::Indices => ELEMENT_ARRAY_BUFFER,
        }
    }
}

/// The smallest and largest value of each component.
pub(super) fn bounds<T, const N: usize>(vectors: &[[T; N]]) -> Option<[Value; 2]>
where
    T: Copy + PartialOrd + serde::Serialize,
{
    let first = *vectors.first()?;
    let (mut min, mut max) = (first, first);
    for vector in vectors {
        for axis in 0..N {
            if vector[axis] < min[axis] {
                min[axis] = vector[axis];
            }
            if vector[axis] > max[axis] {
                max[axis] = vector[axis];
            }
        }
    }
    Some([json!(min.to_vec()), json!(max.to_vec())])
}
