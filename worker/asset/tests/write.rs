//! Asset files as other programs read them. What is written for programs that are not in Rust, `scripts/validate-assets.sh` checks with those.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Cursor, Read};

use common::{cloud, ring, textured_ring};
use gltf::mesh::Mode;
use trellis_asset::formats::{self, AssetRef, Format, Options, TextureFormat};
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

fn write<'a>(asset: impl Into<AssetRef<'a>>, format: Format, options: &Options) -> Vec<u8> {
    formats::write(asset, format, options).unwrap()
}

fn glb(mesh: &Mesh) -> Result<Vec<u8>, Error> {
    formats::write(mesh, Format::Glb, &Options::default())
}

fn y_up([x, y, z]: [f32; 3]) -> [f32; 3] {
    [x, z, -y]
}

#[test]
fn a_gltf_reader_finds_the_mesh_with_y_up_and_linear_colours() {
    let mesh = tetrahedron();
    let (document, buffers, images) = gltf::import_slice(glb(&mesh).unwrap()).unwrap();
    assert!(images.is_empty());
    assert_eq!(document.as_json().asset.generator.as_deref(), Some("trellis3d"));
    let node = document.default_scene().unwrap().nodes().next().unwrap();
    let primitive = node.mesh().unwrap().primitives().next().unwrap();
    assert_eq!(primitive.mode(), Mode::Triangles);
    let material = primitive.material().pbr_metallic_roughness();
    assert_eq!((material.roughness_factor(), material.metallic_factor()), (1.0, 0.0));

    let reader = primitive.reader(|buffer| buffers.get(buffer.index()).map(|data| &data[..]));
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
fn a_gltf_reader_finds_the_texture_with_its_first_row_above() {
    let mesh = textured_ring(20, 10, 64);
    let Paint::Texture { coordinates, picture } = &mesh.paint else { panic!() };
    for texture in [TextureFormat::Png, TextureFormat::Jpeg] {
        let file = write(&mesh, Format::Glb, &Options { texture, ..Options::default() });
        let (document, buffers, images) = gltf::import_slice(file).unwrap();
        let primitive = document.meshes().next().unwrap().primitives().next().unwrap();
        assert!(primitive.material().pbr_metallic_roughness().base_color_texture().is_some());
        let reader = primitive.reader(|buffer| buffers.get(buffer.index()).map(|data| &data[..]));
        let read: Vec<_> = reader.read_tex_coords(0).unwrap().into_f32().collect();
        assert_eq!(&read, coordinates);
        assert_eq!((images[0].width, images[0].height), (64, 64));
        let worst = images[0].pixels.iter().zip(picture.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= if texture == TextureFormat::Png { 0 } else { 90 }, "{texture:?} is off by {worst}");
    }
}

#[test]
fn an_archive_reader_finds_obj_material_and_texture() {
    let file = write(&textured_ring(8, 5, 16), Format::Obj, &Options::default());
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).unwrap();
    let names: Vec<_> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(names, ["model.obj", "model.mtl", "model.png"]);
    let mut text = String::new();
    archive.by_name("model.obj").unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("\nmtllib model.mtl\n") && text.contains("\nusemtl material\n"), "{text}");
    let mut picture = vec![];
    archive.by_name("model.png").unwrap().read_to_end(&mut picture).unwrap();
    assert_eq!(image::load_from_memory(&picture).unwrap().width(), 16);
}

#[test]
fn files_in_a_usdz_lie_where_they_can_be_mapped() {
    let file = write(&textured_ring(8, 5, 16), Format::Usdz, &Options::default());
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).unwrap();
    assert_eq!(archive.len(), 2);
    for index in 0..2 {
        let entry = archive.by_index(index).unwrap();
        assert_eq!(entry.data_start().unwrap() % 64, 0, "{:?}", entry.name());
        assert_eq!(entry.compression(), zip::CompressionMethod::Stored);
        assert!(index > 0 || entry.name().unwrap() == "model.usda", "the scene comes first");
    }
}

#[test]
fn the_same_asset_gives_the_same_bytes_on_one_thread_and_on_many() {
    let (mesh, textured, cloud) = (ring(300, 90), textured_ring(60, 20, 64), cloud(500));
    let assets: [AssetRef<'_>; 3] = [(&mesh).into(), (&textured).into(), (&cloud).into()];
    let options = [
        Options::default(),
        Options { texture: TextureFormat::Jpeg, compress: true },
        Options { texture: TextureFormat::WebP, compress: false },
    ];
    let all = || {
        let mut files = vec![];
        for format in Format::ALL {
            for asset in assets.into_iter().filter(|asset| format.holds(*asset)) {
                files
                    .extend(options.iter().filter_map(|options| formats::write(asset, format, options).ok()));
            }
        }
        files
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, many) = (pool(1).install(all), pool(7).install(all));
    assert!(one.len() > 20);
    assert!(one == many);
}

#[test]
fn what_a_format_cannot_hold_is_refused_with_those_that_can() {
    let refusal = |asset: AssetRef<'_>, format, options: &Options| {
        formats::write(asset, format, options).unwrap_err().to_string()
    };
    let message = refusal((&tetrahedron()).into(), Format::Spz, &Options::default());
    assert_eq!(message, "a spz file cannot hold a mesh; these can: glb, obj, ply, stl, usdz");
    let message = refusal((&cloud(3)).into(), Format::Glb, &Options::default());
    assert_eq!(message, "a glb file cannot hold Gaussians; these can: ply, splat, spz");
    let webp = Options { texture: TextureFormat::WebP, ..Options::default() };
    for format in [Format::Obj, Format::Usdz] {
        let message = refusal((&textured_ring(4, 3, 8)).into(), format, &webp);
        assert!(message.contains("png or jpeg"), "{message}");
    }
    assert!(Format::of("model.docx".as_ref()).unwrap_err().to_string().contains("glb, obj"));
    assert_eq!(Format::of("a/b.GLB".as_ref()).unwrap(), Format::Glb);
}

#[test]
fn what_no_viewer_could_show_is_refused() {
    let empty = Mesh { faces: vec![], ..tetrahedron() };
    assert!(matches!(glb(&empty), Err(Error::Empty(_))));
    let broken = |change: fn(&mut Mesh)| {
        let mut mesh = tetrahedron();
        change(&mut mesh);
        glb(&mesh).unwrap_err().to_string()
    };
    assert!(broken(|mesh| mesh.vertices[1][2] = f32::NAN).contains("finite"));
    assert!(broken(|mesh| mesh.faces[0][0] = 4).contains("vertices that it lacks"));
    assert!(broken(|mesh| mesh.normals.truncate(2)).contains("normals"));
}
