//! Small assets in every format, and how long large ones take.
//!
//! `assets write FOLDER` writes each of them, for programs of others to check (`scripts/validate-assets.sh`), with their counts and bounds in
//! `expected.json`. `assets bench` prints the times of writing and drawing.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a developer's tool: it may panic, and it prints its result"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::Instant;

use common::{cloud, ring, textured_ring};
use serde_json::{Value, json};
use trellis_asset::formats::{self, AssetRef, Format, Options, TextureFormat};
use trellis_asset::render::{self, View};
use trellis_asset::{Gaussians, Mesh};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", folder] => write(Path::new(folder)),
        ["bench"] => bench(),
        _ => panic!("assets write FOLDER | assets bench"),
    }
}

fn write(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let (mesh, textured, cloud) = (ring(40, 20), textured_ring(40, 20, 128), cloud(600));
    let mut expected = serde_json::Map::new();
    let mut file = |name: &str, asset: AssetRef<'_>, format: Format, options: Options, facts: &Value| {
        let name = format!("{name}.{}", format.extension());
        std::fs::write(folder.join(&name), formats::write(asset, format, &options).unwrap()).unwrap();
        expected.insert(name, facts.clone());
    };
    for (name, mesh) in [("coloured", &mesh), ("textured", &textured)] {
        let facts = mesh_facts(mesh);
        for format in [Format::Glb, Format::Obj, Format::Ply, Format::Stl, Format::Usdz] {
            file(name, mesh.into(), format, Options::default(), &facts);
        }
        let compressed = Options { compress: true, ..Options::default() };
        file(&format!("{name}-compressed"), mesh.into(), Format::Glb, compressed, &facts);
    }
    for (name, texture) in [("textured-jpeg", TextureFormat::Jpeg), ("textured-webp", TextureFormat::WebP)] {
        file(
            name,
            (&textured).into(),
            Format::Glb,
            Options { texture, ..Options::default() },
            &mesh_facts(&textured),
        );
    }
    for format in [Format::Ply, Format::Splat, Format::Spz] {
        file("gaussians", (&cloud).into(), format, Options::default(), &cloud_facts(&cloud));
    }
    for (name, asset) in [
        ("coloured", AssetRef::from(&mesh)),
        ("textured", (&textured).into()),
        ("gaussians", (&cloud).into()),
    ] {
        std::fs::write(folder.join(format!("{name}.png")), render::preview(asset, 512).unwrap()).unwrap();
    }
    let frames = render::turntable(&textured, &View { size: 128, ..View::default() }, 12).unwrap();
    std::fs::write(folder.join("turntable.webp"), render::animation(&frames, 12.0).unwrap()).unwrap();
    std::fs::write(folder.join("expected.json"), Value::Object(expected).to_string()).unwrap();
}

/// Counts and the bounding box, in the model's frame.
fn mesh_facts(mesh: &Mesh) -> Value {
    json!({"vertices": mesh.vertices.len(), "faces": mesh.faces.len(), "bounds": bounds(&mesh.vertices)})
}

/// All there is, in the model's frame.
fn cloud_facts(cloud: &Gaussians) -> Value {
    json!({
        "positions": cloud.positions, "harmonics": cloud.harmonics, "opacities": cloud.opacities, "scales": cloud.scales,
        "rotations": cloud.rotations,
    })
}

fn bounds(points: &[[f32; 3]]) -> [[f32; 3]; 2] {
    let bound = |pick: fn(f32, f32) -> f32| {
        points.iter().copied().reduce(|a, b| std::array::from_fn(|axis| pick(a[axis], b[axis]))).unwrap()
    };
    [bound(f32::min), bound(f32::max)]
}

fn bench() {
    let (large, textured, cloud) = (ring(1000, 300), textured_ring(200, 75, 1024), cloud(640_000));
    let larger = ring(1250, 300);
    println!("{} cores; milliseconds, the best of 3", rayon::current_num_threads());
    for format in [Format::Glb, Format::Obj, Format::Ply, Format::Stl, Format::Usdz] {
        time_writing("600,000 faces, coloured", &large, format, Options::default());
    }
    time_writing(
        "600,000 faces, compressed",
        &large,
        Format::Glb,
        Options { compress: true, ..Options::default() },
    );
    for texture in [TextureFormat::Png, TextureFormat::Jpeg, TextureFormat::WebP] {
        time_writing(
            &format!("30,000 faces, 1024² {texture:?}"),
            &textured,
            Format::Glb,
            Options { texture, ..Options::default() },
        );
    }
    for format in [Format::Ply, Format::Splat, Format::Spz] {
        time_writing("640,000 Gaussians", &cloud, format, Options::default());
    }
    for (name, asset) in [
        ("750,000 faces", AssetRef::from(&larger)),
        ("30,000 faces, textured", (&textured).into()),
        ("640,000 Gaussians", (&cloud).into()),
    ] {
        time(&format!("preview 512² PNG, {name}"), || render::preview(asset, 512).unwrap());
        let view = View { size: 256, ..View::default() };
        time(&format!("turntable 36 × 256² WebP, {name}"), || {
            render::animation(&render::turntable(asset, &view, 36).unwrap(), 12.0).unwrap()
        });
    }
}

fn time_writing<'a>(name: &str, asset: impl Into<AssetRef<'a>>, format: Format, options: Options) {
    let asset = asset.into();
    time(&format!("{format}, {name}"), || formats::write(asset, format, &options).unwrap());
}

fn time(name: &str, make: impl Fn() -> Vec<u8>) {
    let run = || {
        let start = Instant::now();
        let bytes = make().len();
        (start.elapsed().as_secs_f64() * 1000.0, bytes)
    };
    let (milliseconds, bytes) = (0..3).map(|_| run()).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    println!("{name:<60} {milliseconds:>8.0} {:>8.1} MB", bytes as f64 / 1e6);
}
