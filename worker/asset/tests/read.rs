//! What is written is read again, and what others write is read as they mean it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{cloud, ring, textured_ring};
use trellis_asset::formats::{self, Asset, AssetRef, Format, Options, TextureFormat, obj};
use trellis_asset::{Gaussians, Mesh, Paint};

fn mesh(bytes: &[u8], format: Format) -> Mesh {
    match formats::read(bytes, format) {
        Ok(Asset::Mesh(mesh)) => mesh,
        other => panic!("{format}: {other:?}"),
    }
}

fn gaussians(bytes: &[u8], format: Format) -> Gaussians {
    match formats::read(bytes, format) {
        Ok(Asset::Gaussians(gaussians)) => gaussians,
        other => panic!("{format}: {other:?}"),
    }
}

fn round(asset: AssetRef<'_>, format: Format, options: &Options) -> Vec<u8> {
    formats::write(asset, format, options).unwrap()
}

/// What the corners of the triangles have, one after the other: vertices may be in any order.
fn at_corners<const N: usize>(mesh: &Mesh, values: &[[f32; N]]) -> Vec<[f32; N]> {
    mesh.faces.as_flattened().iter().map(|&vertex| values[vertex as usize]).collect()
}

fn worst<const N: usize>(a: &[[f32; N]], b: &[[f32; N]]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.as_flattened().iter().zip(b.as_flattened()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn meshes_come_back_as_they_were() {
    let original = ring(24, 12);
    for format in [Format::Glb, Format::Obj, Format::Ply, Format::Stl] {
        let read = mesh(&round((&original).into(), format, &Options::default()), format);
        assert_eq!(at_corners(&read, &read.vertices), at_corners(&original, &original.vertices), "{format}");
        let Paint::Vertices(colors) = &read.paint else {
            assert_eq!(format, Format::Stl);
            continue;
        };
        let Paint::Vertices(expected) = &original.paint else { panic!() };
        let worst = worst(&at_corners(&read, colors), &at_corners(&original, expected));
        assert!(
            worst < if format == Format::Ply { 0.002 } else { 1e-5 },
            "{format}: colours are off by {worst}"
        );
    }
}

#[test]
fn textures_come_back_as_they_were() {
    let original = textured_ring(24, 12, 32);
    let Paint::Texture { coordinates, picture } = &original.paint else { panic!() };
    for (format, compress) in [(Format::Glb, false), (Format::Glb, true), (Format::Obj, false)] {
        let options = Options { compress, ..Options::default() };
        let read = mesh(&round((&original).into(), format, &options), format);
        let Paint::Texture { coordinates: read_coordinates, picture: read_picture } = &read.paint else {
            panic!()
        };
        assert_eq!(read_picture, picture, "{format}");
        if !compress {
            let worst = worst(&at_corners(&read, read_coordinates), &at_corners(&original, coordinates));
            assert!(worst < 1e-6, "{format}: places are off by {worst}");
        }
    }
    let webp = Options { texture: TextureFormat::WebP, ..Options::default() };
    let read = mesh(&round((&original).into(), Format::Glb, &webp), Format::Glb);
    assert!(matches!(&read.paint, Paint::Texture { picture, .. } if picture.dimensions() == (32, 32)));
}

#[test]
fn a_compressed_glb_is_small_and_close() {
    let original = ring(200, 60);
    let plain = round((&original).into(), Format::Glb, &Options::default());
    let small = round((&original).into(), Format::Glb, &Options { compress: true, ..Options::default() });
    assert!(small.len() * 3 < plain.len(), "{} of {} bytes", small.len(), plain.len());
    let read = mesh(&small, Format::Glb);
    assert_eq!((read.faces.len(), read.vertices.len()), (original.faces.len(), original.vertices.len()));
    // Vertices come in another order: each has one of the original beside it, with its normal and colour.
    let (Paint::Vertices(colors), Paint::Vertices(expected)) = (&read.paint, &original.paint) else {
        panic!()
    };
    let distance =
        |a: [f32; 3], b: [f32; 3]| (0..3).map(|axis| (a[axis] - b[axis]).abs()).fold(0.0, f32::max);
    for (index, vertex) in read.vertices.iter().enumerate().step_by(97) {
        let near = (0..original.vertices.len()).min_by(|&a, &b| {
            distance(original.vertices[a], *vertex).total_cmp(&distance(original.vertices[b], *vertex))
        });
        let near = near.unwrap();
        assert!(distance(original.vertices[near], *vertex) < 1e-5);
        assert!(distance(original.normals[near], read.normals[index]) < 0.02);
        assert!(distance(expected[near], colors[index]) < 1e-3);
    }
}

#[test]
fn gaussians_come_back_nearly_as_they_were() {
    let original = cloud(400);
    for (format, [position, harmonic, opacity, scale, turn]) in [
        (Format::Ply, [0.0, 0.0, 1e-6, 1e-6, 5e-5]),
        (Format::Splat, [0.0, 0.008, 0.003, 0.0, 0.02]),
        (Format::Spz, [1e-6, 0.014, 0.003, 0.0007, 0.003]),
    ] {
        let mut read = gaussians(&round((&original).into(), format, &Options::default()), format);
        if format == Format::Splat {
            read = in_order_of(&read, &original);
        }
        let off = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let close = |what: &str, a: &[f32], b: &[f32], bound: f32| {
            let off = off(a, b);
            assert!(a.len() == b.len() && off <= bound, "{format}: {what} is off by {off}");
        };
        close("position", read.positions.as_flattened(), original.positions.as_flattened(), position);
        close("colour", read.harmonics.as_flattened(), original.harmonics.as_flattened(), harmonic);
        close("opacity", &read.opacities, &original.opacities, opacity);
        close("scale", read.scales.as_flattened(), original.scales.as_flattened(), scale);
        close("turn", &directions(&read), &directions(&original), turn);
    }
}

/// `.splat` has the most visible first.
fn in_order_of(read: &Gaussians, original: &Gaussians) -> Gaussians {
    let place = |position: &[f32; 3]| read.positions.iter().position(|other| other == position).unwrap();
    let order: Vec<usize> = original.positions.iter().map(place).collect();
    Gaussians {
        positions: order.iter().map(|&index| read.positions[index]).collect(),
        harmonics: order.iter().map(|&index| read.harmonics[index]).collect(),
        opacities: order.iter().map(|&index| read.opacities[index]).collect(),
        scales: order.iter().map(|&index| read.scales[index]).collect(),
        rotations: order.iter().map(|&index| read.rotations[index]).collect(),
    }
}

/// Orientations of length 1, w positive: a quaternion and its negative are one turn.
fn directions(gaussians: &Gaussians) -> Vec<f32> {
    let direction = |rotation: &[f32; 4]| {
        let length = rotation.iter().map(|part| part * part).sum::<f32>().sqrt() * rotation[0].signum();
        rotation.map(|part| part / length)
    };
    gaussians.rotations.iter().flat_map(direction).collect()
}

#[test]
fn text_of_others_is_read_as_they_mean_it() {
    let ply = "ply\r\nformat ascii 1.0\r\ncomment by hand\r\nelement vertex 4\r\nproperty double x\r\nproperty double y\r\n\
               property double z\r\nproperty uchar red\r\nproperty uchar green\r\nproperty uchar blue\r\nproperty uchar alpha\r\n\
               element face 1\r\nproperty list uchar uint vertex_index\r\nend_header\r\n\
               0 0 0 255 0 0 255\r\n1 0 0 0 255 0 255\r\n1 1 0 0 0 255 255\r\n0 1 0 255 255 255 255\r\n4 0 1 2 3\r\n";
    let read = mesh(ply.as_bytes(), Format::Ply);
    assert_eq!(read.faces, [[0, 1, 2], [0, 2, 3]], "a quad becomes two triangles");
    assert_eq!(read.normals[0], [0.0, 0.0, 1.0], "normals are computed where there are none");
    assert!(matches!(&read.paint, Paint::Vertices(colors) if colors[2] == [0.0, 0.0, 1.0]));

    let stl = "solid name\n facet normal 0 0 1\n  outer loop\n   vertex 0 0 0\n   vertex 1e0 0 0\n   vertex 0 1 -0\n  endloop\n endfacet\nendsolid\n";
    let read = mesh(stl.as_bytes(), Format::Stl);
    assert_eq!((read.vertices.len(), read.faces.len()), (3, 1));

    let text =
        "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 0 -1\nv 0 1 0\nusemtl red\nf 1 2 3\nusemtl blue\nf -4 -2 -1\n";
    let material = "newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n";
    let read = obj::read(text.as_bytes(), &mut |name| (name == "a.mtl").then(|| material.into())).unwrap();
    assert_eq!(read.vertices[2], [0.0, 1.0, 0.0], "y is up in OBJ, z in the model");
    let Paint::Vertices(colors) = &read.paint else { panic!("{:?}", read.paint) };
    assert!(colors.contains(&[1.0, 0.0, 0.0]) && colors.contains(&[0.0, 0.0, 1.0]));
    assert_eq!(mesh(text.as_bytes(), Format::Obj).paint, Paint::None, "without its material it is grey");
}

/// A GLB with this document and binary part.
fn glb(document: &serde_json::Value, binary: &[u8]) -> Vec<u8> {
    let mut text = document.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(4), b' ');
    let mut file = b"glTF".to_vec();
    let length = |bytes: usize| (bytes as u32).to_le_bytes();
    file.extend([2u32.to_le_bytes(), length(12 + 16 + text.len() + binary.len())].concat());
    for (kind, chunk) in [(b"JSON", text.as_slice()), (b"BIN\0", binary)] {
        file.extend(length(chunk.len()));
        file.extend(kind);
        file.extend(chunk);
    }
    file
}

/// One triangle twice: by a node, and by its child that is mirrored, moved and of another colour.
fn two_nodes() -> (serde_json::Value, Vec<u8>) {
    let positions = [[0.0f32, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    let binary = positions.as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect();
    let primitive =
        |material| serde_json::json!({"primitives": [{"attributes": {"POSITION": 0}, "material": material}]});
    let document = serde_json::json!({
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "children": [1], "translation": [10, 0, 0]}, {"mesh": 1, "scale": [-2, 1, 1]}],
        "meshes": [primitive(0), primitive(1)],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}, {}],
        "buffers": [{"byteLength": 36}], "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
    });
    (document, binary)
}

#[test]
fn nodes_of_a_glb_put_their_meshes_where_they_belong() {
    let (document, binary) = two_nodes();
    let read = mesh(&glb(&document, &binary), Format::Glb);
    assert_eq!(read.vertices[1], [11.0, 0.0, 0.0]);
    assert_eq!(read.vertices[2], [10.0, 0.0, 1.0], "y is up in glTF, z in the model");
    assert_eq!(read.vertices[4], [8.0, 0.0, 0.0]);
    assert_eq!(read.faces, [[0, 1, 2], [3, 5, 4]], "a mirrored triangle still faces outwards");
    assert_eq!(read.normals[3], read.normals[0]);
    let Paint::Vertices(colors) = &read.paint else { panic!() };
    assert!(worst(&[colors[0], colors[3]], &[[1.0, 0.0, 0.0], [1.0; 3]]) < 1e-6, "{colors:?}");
}

#[test]
fn a_glb_that_cannot_be_true_is_refused() {
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let (mut document, binary) = two_nodes();
        change(&mut document);
        formats::read(&glb(&document, &binary), Format::Glb).unwrap_err().to_string()
    };
    assert!(refused(&|document| document["nodes"][1]["children"] = serde_json::json!([0])).contains("tree"));
    assert!(refused(&|document| document["accessors"][0]["count"] = 4.into()).contains("beyond its view"));
    assert!(
        refused(&|document| document["accessors"][0]["count"] = 1_000_000_000.into()).contains("more than")
    );
    assert!(refused(&|document| document["accessors"][0]["byteOffset"] = u64::MAX.into()).contains("beyond"));
    assert!(refused(&|document| document["nodes"][1]["mesh"] = 7.into()).contains("lacks mesh 7"));
    assert!(refused(&|document| document["buffers"][0]["uri"] = "model.bin".into()).contains("beside it"));
    let draco = |document: &mut serde_json::Value| {
        document["extensionsRequired"] = serde_json::json!(["KHR_draco_mesh_compression"]);
    };
    assert!(refused(&draco).contains("KHR_draco_mesh_compression"));
}

#[test]
fn counts_beyond_the_file_cost_nothing() {
    let ply = |count: &str| {
        format!(
            "ply\nformat binary_little_endian 1.0\nelement vertex {count}\nproperty float x\nend_header\n"
        )
    };
    for count in ["3", "20000000", "18446744073709551615"] {
        assert!(formats::read(ply(count).as_bytes(), Format::Ply).is_err());
    }
    let mut stl = vec![0; 84];
    stl[80..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(formats::read(&stl, Format::Stl).is_err());
    let mut spz = b"NGSP\x03\0\0\0".to_vec();
    spz.extend([0xFF, 0xFF, 0x0F, 0x01, 0, 12, 0, 0]);
    let mut file = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut file, &spz).unwrap();
    assert!(
        formats::read(&file.finish().unwrap(), Format::Spz).unwrap_err().to_string().contains("ends before")
    );
}
