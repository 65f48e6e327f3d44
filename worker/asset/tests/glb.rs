//! GLB files as another program reads them.

use gltf::mesh::Mode;
use trellis_asset::formats::glb;
use trellis_asset::{Error, Mesh, Paint};

/// A tetrahedron with one corner of each colour.
fn tetrahedron() -> Mesh {
    let normal = 1.0 / 3f32.sqrt();
    Mesh {
        vertices: vec![[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 0.125]],
        normals: vec![[-normal; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        faces: vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]],
        paint: Paint::Vertices(vec![[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0]]),
    }
}

#[test]
fn a_reader_finds_the_mesh_with_y_up_and_linear_colours() {
    let mesh = tetrahedron();
    let (document, buffers, images) = gltf::import_slice(glb::write(&mesh).unwrap()).unwrap();
    assert!(images.is_empty());
    assert_eq!(document.as_json().asset.generator.as_deref(), Some("trellis3d"));
    let node = document.default_scene().unwrap().nodes().next().unwrap();
    let primitive = node.mesh().unwrap().primitives().next().unwrap();
    assert_eq!(primitive.mode(), Mode::Triangles);
    let material = primitive.material().pbr_metallic_roughness();
    assert_eq!((material.roughness_factor(), material.metallic_factor()), (1.0, 0.0));

    let reader = primitive.reader(|buffer| buffers.get(buffer.index()).map(|data| &data[..]));
    let y_up = |[x, y, z]: [f32; 3]| [x, z, -y];
    let positions: Vec<_> = reader.read_positions().unwrap().collect();
    assert_eq!(positions, mesh.vertices.iter().copied().map(y_up).collect::<Vec<_>>());
    let normals: Vec<_> = reader.read_normals().unwrap().collect();
    assert_eq!(normals, mesh.normals.iter().copied().map(y_up).collect::<Vec<_>>());
    let indices: Vec<_> = reader.read_indices().unwrap().into_u32().collect();
    assert_eq!(indices, mesh.faces.as_flattened());
    let colors: Vec<_> = reader.read_colors(0).unwrap().into_rgb_f32().collect();
    assert_eq!((colors[0], colors[1], colors[3]), ([0.0; 3], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]));
    assert!((colors[2][1] - 0.214_041).abs() < 1e-6, "sRGB ½ is {} in linear light", colors[2][1]);

    let bounds = primitive.bounding_box();
    assert_eq!((bounds.min, bounds.max), ([0.0, 0.0, -0.25], [0.5, 0.125, 0.0]));
}

#[test]
fn the_same_mesh_gives_the_same_bytes() {
    assert_eq!(glb::write(&tetrahedron()).unwrap(), glb::write(&tetrahedron()).unwrap());
}

#[test]
fn a_mesh_that_no_viewer_could_show_is_refused() {
    let empty = Mesh { faces: vec![], ..tetrahedron() };
    assert!(matches!(glb::write(&empty), Err(Error::Empty(_))));
    let mut broken = tetrahedron();
    broken.vertices[1][2] = f32::NAN;
    assert!(glb::write(&broken).unwrap_err().to_string().contains("finite"));
}
