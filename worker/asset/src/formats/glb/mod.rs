//! Binary glTF 2.0 (<https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html>): one mesh with vertex colours or a texture.

mod accessor;
mod buffer;
mod compressed;
mod document;
mod paint;
mod plain;
mod scene;

use serde_json::{Value, json};

use super::Options;
use super::texture::{self, TextureFormat};
use crate::{Error, Mesh, Paint, Result};
use buffer::Buffer;

pub(super) use scene::read;

const MAGIC: &[u8; 4] = b"glTF";
const JSON_CHUNK: &[u8; 4] = b"JSON";
const BINARY_CHUNK: &[u8; 4] = b"BIN\0";
const MESHOPT: &str = "EXT_meshopt_compression";
const QUANTIZATION: &str = "KHR_mesh_quantization";
const WEBP: &str = "EXT_texture_webp";

/// The file of a mesh: y up, facing +z, as glTF has it. Colours become linear, which glTF's `COLOR_0` is.
pub(super) fn encode(mesh: &Mesh, options: &Options) -> Result<Vec<u8>> {
    let mut buffer = Buffer::default();
    let mut extensions = vec![];
    let (primitive, node) = if options.compress {
        extensions.extend([MESHOPT, QUANTIZATION]);
        compressed::primitive(mesh, &mut buffer)?
    } else {
        (plain::primitive(mesh, &mut buffer), json!({"mesh": 0}))
    };
    let mut document = json!({
        "asset": {"version": "2.0", "generator": "trellis3d"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}],
    });
    if let Paint::Texture { picture, .. } = &mesh.paint {
        let image = buffer.bytes(&texture::encode(picture, options.texture)?);
        add_texture(&mut document, image, options.texture);
        if options.texture == TextureFormat::WebP {
            extensions.push(WEBP);
        }
    }
    if !extensions.is_empty() {
        document["extensionsUsed"] = json!(extensions);
        document["extensionsRequired"] = json!(extensions);
    }
    buffer.describe(&mut document);
    container(&document, buffer.into_bytes())
}

/// A texture that repeats, which is what programs assume where nothing is said, smooth from near and far.
fn add_texture(document: &mut Value, image: usize, format: TextureFormat) {
    const LINEAR: u32 = 9729;
    const LINEAR_MIPMAP_LINEAR: u32 = 9987;
    document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = json!({"index": 0});
    document["samplers"] = json!([{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR}]);
    document["images"] = json!([{"bufferView": image, "mimeType": format.media_type()}]);
    document["textures"] = match format {
        TextureFormat::WebP => json!([{"sampler": 0, "extensions": {WEBP: {"source": 0}}}]),
        _ => json!([{"sampler": 0, "source": 0}]),
    };
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
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&2u32.to_le_bytes());
    file.extend_from_slice(&length(total)?);
    for (kind, chunk) in [(JSON_CHUNK, text), (BINARY_CHUNK, binary)] {
        file.extend_from_slice(&length(chunk.len())?);
        file.extend_from_slice(kind);
        file.extend_from_slice(&chunk);
    }
    Ok(file)
}
